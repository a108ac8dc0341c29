/* SPDX-License-Identifier: MIT */
/*
 * Rights of publishers.  Invariants: a verdict is used only while the rules
 * are those that it came from; a bill that is not ST_OK has taken nothing.
 */
#include "rights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "hashtable.h"
#include "identities.h"
#include "log.h"
#include "name.h"
#include "protocol.h"

#define VERDICTS_WAYS 4   /* places where the verdict of a channel may be */
#define VERDICTS_SETS 16  /* so 64 channels of one identity */
#define RULES_KEPT    64  /* lines that concern one identity */
#define RULES_A_COST  100 /* lines that are looked at in a microsecond */

/* What the rules say of a channel, for one identity. */
struct said {
	bool allowed;
	/*
	 * The first line that allows it, if all that do have a rate, and a
	 * number for all of these; 0: some line lets it through for nothing.
	 */
	unsigned line;
	uint64_t lines;
};

struct verdict {
	struct said said;
	uint32_t edition; /* of the rules */
	uint8_t len;      /* of the channel; 0: none is kept here */
	char channel[NAME_MAX_BYTES];
};

static struct access_person
person_of(const struct identity *id)
{
	return (struct access_person){.uid = id->uid,
	    .gid = id->gid,
	    .n_gids = id->n_gids};
}

/* ---- the rules ---------------------------------------------------------- */

enum status
rights_open(struct rights *r, const struct conf *conf, struct errmsg *err)
{
	*r = (struct rights){.conf = conf, .trust = {.owner = -1}};
	rates_init(&r->rates);
	trust_look(&r->trust, conf->database);
	trust_name(&r->trust, span_str(conf->report_users));
	return access_file_open(&r->access, conf, err);
}

void
rights_close(struct rights *r)
{
	access_file_close(&r->access);
}

static void
tell_warning(void *arg, unsigned line, const char *text)
{
	const struct rights *r = arg;

	log_warnx("%s:%u: %s", r->conf->access, line, text);
}

void
rights_tell(struct rights *r)
{
	if (r->access.is_set)
		access_warnings(r->access.rules, tell_warning, r);
	else
		log_info("access is not set: whoever reaches the socket may "
			 "publish to all channels");
}

void
rights_reload(struct rights *r)
{
	struct errmsg err = {""};

	trust_name(&r->trust, span_str(r->conf->report_users));
	if (!r->access.is_set)
		return;
	if (access_file_reload(&r->access, r->conf, &err) != ST_OK) {
		log_error("keeping the old access rules: %s", err.text);
		return;
	}
	log_info("access rules read again");
	rights_tell(r);
}

/* ---- verdicts ----------------------------------------------------------- */

/* The rules that concern them, or all if these are many. */
static const struct access *
rules_for(const struct rights *r, struct identity *id)
{
	uint64_t edition = (uint64_t)r->access.edition + 1;
	struct access_person who = person_of(id);

	if (id->rules_edition != edition) {
		access_free(&id->rules);
		id->rules_edition = edition;
		/* UNTESTED: without memory it is slower, and the same */
		if (access_for_peer(&id->rules, r->access.rules, &who,
			RULES_KEPT) != ST_OK)
			id->rules = NULL;
	}
	return id->rules != NULL ? id->rules : r->access.rules;
}

/* All lines that allow it; a line without a rate lets it through. */
static void
find_lines(const struct rights *r, struct identity *id, struct span channel,
    struct said *v)
{
	const struct access *rules = rules_for(r, id);
	struct access_person who = person_of(id);
	struct access_verdict first = access_judge(rules, &who, ACCESS_PUBLISH,
	    channel);
	unsigned line;

	v->allowed = first.allowed;
	v->line = first.allowed ? first.line : 0;
	v->lines = 0;
	for (line = v->line; line != 0;
	     line = access_next(rules, &who, ACCESS_PUBLISH, channel, line)) {
		if (access_rate_of(rules, line).per_s == 0) {
			v->line = 0;
			v->lines = 0;
			return;
		}
		v->lines = (v->lines ^ line) * UINT64_C(0x100000001b3);
	}
}

/* Where the verdict of this channel is, or would be; NULL: no memory. */
static struct verdict *
verdict_set(struct identity *id, struct span channel)
{
	size_t set = hashtable_hash(channel.p, channel.len) % VERDICTS_SETS;

	if (id->verdicts == NULL)
		id->verdicts = calloc((size_t)VERDICTS_SETS * VERDICTS_WAYS,
		    sizeof(id->verdicts[0]));
	if (id->verdicts == NULL)
		return NULL;
	return &id->verdicts[set * VERDICTS_WAYS];
}

static bool
is_for(const struct verdict *v, const struct rights *r, struct span channel)
{
	return v->len == channel.len && v->edition == r->access.edition &&
	    memcmp(v->channel, channel.p, channel.len) == 0;
}

/* In place of the one that was judged longest ago. */
static void
keep_verdict(const struct rights *r, struct verdict *set, struct span channel,
    const struct said *said)
{
	struct verdict *v = &set[0];

	memmove(&set[1], &set[0], (VERDICTS_WAYS - 1) * sizeof(set[0]));
	v->said = *said;
	v->edition = r->access.edition;
	v->len = (uint8_t)channel.len;
	memcpy(v->channel, channel.p, channel.len);
}

static struct said
rights_judge(const struct rights *r, struct identity *id, struct span channel,
    size_t *n_judged)
{
	struct verdict *set = verdict_set(id, channel);
	struct said said;
	size_t i;

	for (i = 0; set != NULL && i < VERDICTS_WAYS; i++)
		if (is_for(&set[i], r, channel))
			return set[i].said;
	find_lines(r, id, channel, &said);
	++*n_judged;
	if (set != NULL)
		keep_verdict(r, set, channel, &said);
	return said;
}

/* ---- paying ------------------------------------------------------------- */

/* Takes n more of the same bucket: what was taken before counts with it. */
static enum status
rights_take(struct rights *r, struct rights_bill *bill, struct rights_payment p,
    struct rates_rule rule, uint64_t now_us, uint64_t *wait_us)
{
	size_t i;
	enum status st;

	if (rule.per_s == 0)
		return ST_OK;
	for (i = 0; i < bill->n; i++)
		if (bill->payment[i].from.uid == p.from.uid &&
		    bill->payment[i].from.line == p.from.line)
			break;
	if (i == RIGHTS_MAX_LINES + 1)
		return ST_TOOLARGE;
	if (i < bill->n && bill->payment[i].n_events + p.n_events > rule.burst)
		return ST_TOOLARGE;
	st = rates_take(&r->rates, p.from, rule, p.n_events, now_us, wait_us);
	if (st != ST_OK)
		return st;
	if (i == bill->n)
		bill->payment[bill->n++] = (struct rights_payment){
		    .from = p.from};
	bill->payment[i].n_events += p.n_events;
	return ST_OK;
}

void
rights_refund(struct rights *r, struct rights_bill *bill)
{
	while (bill->n > 0) {
		const struct rights_payment *p = &bill->payment[--bill->n];

		rates_give_back(&r->rates, p->from, p->n_events);
	}
}

/* publish_rate, which is each user's, whatever the rules say. */
static enum status
pay_as_user(struct rights *r, const struct identity *id, uint64_t n,
    uint64_t now_us, struct rights_bill *bill)
{
	const struct conf *c = r->conf;
	int64_t burst = c->publish_burst > 0 ? c->publish_burst
					     : c->publish_rate;
	struct rates_rule rule = {.per_s = (uint64_t)c->publish_rate,
	    .burst = (uint64_t)burst};
	struct rights_payment p = {.from = {.uid = id->uid}, .n_events = n};

	bill->line = 0;
	bill->n_events = n;
	return rights_take(r, bill, p, rule, now_us, &bill->wait_us);
}

/* The bucket goes with the text of its line: others may move it. */
static struct rates_key
bucket_of_line(const struct access *rules, const struct identity *id,
    unsigned line)
{
	struct span text = access_line_text(rules, line);
	bool shared = access_rate_of(rules, line).shared;

	return (struct rates_key){.uid = shared ? -1 : id->uid,
	    .line = hashtable_hash(text.p, text.len) | 1};
}

/* Events of a request that the same lines allow. */
struct share {
	uint64_t lines;
	unsigned line;
	struct span channel;
	uint64_t n_events;
};

static enum status
pay_by_line(struct rights *r, struct identity *id, const struct share *s,
    unsigned line, uint64_t now_us, struct rights_bill *bill)
{
	const struct access *rules = rules_for(r, id);
	struct access_rate rate = access_rate_of(rules, line);
	struct rates_rule rule = {.per_s = (uint64_t)rate.per_s,
	    .burst = (uint64_t)rate.burst};
	struct rights_payment p = {.from = bucket_of_line(rules, id, line),
	    .n_events = s->n_events};

	return rights_take(r, bill, p, rule, now_us, &bill->wait_us);
}

/*
 * The first line that has the tokens pays all of it.  If none has, the one
 * that soonest will is told.
 */
static enum status
pay_share(struct rights *r, struct identity *id, const struct share *s,
    uint64_t now_us, struct rights_bill *bill)
{
	const struct access *rules = rules_for(r, id);
	struct access_person who = person_of(id);
	enum status found = ST_TOOLARGE, st;
	uint64_t soonest_us = UINT64_MAX;
	unsigned line;

	bill->line = s->line;
	bill->n_events = s->n_events;
	for (line = s->line; line != 0; line = access_next(rules, &who,
					    ACCESS_PUBLISH, s->channel, line)) {
		st = pay_by_line(r, id, s, line, now_us, bill);
		if (st == ST_OK)
			return ST_OK;
		if (st == ST_BUSY && bill->wait_us < soonest_us) {
			found = ST_BUSY;
			soonest_us = bill->wait_us;
			bill->line = line;
		}
	}
	bill->wait_us = soonest_us;
	return found;
}

/* Adds an event to the share that it belongs to; false: there are too many. */
static bool
add_to_shares(struct share *list, size_t *n, const struct said *v,
    struct span channel)
{
	size_t i = *n;

	/* Mostly that of the event before. */
	while (i > 0 && list[i - 1].lines != v->lines)
		i--;
	if (i == 0 && *n == RIGHTS_MAX_LINES)
		return false;
	if (i == 0) {
		list[*n] = (struct share){.lines = v->lines,
		    .line = v->line,
		    .channel = channel};
		i = ++*n;
	}
	list[i - 1].n_events++;
	return true;
}

static enum status
pay_by_rules(struct rights *r, struct identity *id,
    const struct protocol_event *ev, size_t n, uint64_t now_us,
    struct rights_bill *bill)
{
	struct share list[RIGHTS_MAX_LINES];
	size_t i, n_shares = 0;
	enum status st = ST_OK;

	for (i = 0; i < n; i++) {
		struct said v = rights_judge(r, id, ev[i].e.channel,
		    &bill->n_judged);

		bill->index = i;
		if (!v.allowed)
			return ST_DENIED;
		bill->line = v.line;
		bill->n_events = n;
		if (v.line != 0 &&
		    !add_to_shares(list, &n_shares, &v, ev[i].e.channel))
			return ST_TOOLARGE;
	}
	for (i = 0; st == ST_OK && i < n_shares; i++)
		st = pay_share(r, id, &list[i], now_us, bill);
	return st;
}

enum status
rights_publish(struct rights *r, struct identity *id,
    const struct protocol_event *ev, size_t n, uint64_t now_us,
    struct rights_bill *bill)
{
	enum status st = ST_OK;

	bill->n = 0;
	bill->n_judged = bill->cost = 0;
	bill->wait_us = 0;
	if (r->access.is_set)
		st = pay_by_rules(r, id, ev, n, now_us, bill);
	if (st == ST_OK)
		st = pay_as_user(r, id, n, now_us, bill);
	if (st != ST_OK)
		rights_refund(r, bill);
	if (bill->n_judged > 0)
		bill->cost = bill->n_judged *
		    (1 + access_n_rules(rules_for(r, id)) / RULES_A_COST);
	return st;
}

/* ---- anything else ------------------------------------------------------ */

static bool
by_rules(const struct rights *r, const struct identity *id, enum access_op op)
{
	struct access_person who = person_of(id);

	return r->access.is_set &&
	    access_judge(r->access.rules, &who, op, SPAN_NONE).allowed;
}

bool
rights_report(const struct rights *r, const struct identity *id)
{
	return trust_reports(&r->trust, id->uid) ||
	    by_rules(r, id, ACCESS_REPORT);
}

bool
rights_listen(const struct rights *r, const struct identity *id)
{
	struct access_person who = person_of(id);

	return !r->access.is_set || trust_reports(&r->trust, id->uid) ||
	    access_names_peer(r->access.rules, &who);
}

bool
rights_revoke(const struct rights *r, const struct identity *id)
{
	return trust_owns(&r->trust, id->uid) || by_rules(r, id, ACCESS_REVOKE);
}

/* ---- why not ------------------------------------------------------------ */

/* Lines for others, and for something else, are not worth telling. */
static void
add_why(void *arg, unsigned line, enum access_outcome outcome)
{
	struct rights_why *why = arg;
	size_t room = sizeof(why->text) - why->len;
	int n;

	if (outcome != ACCESS_OTHER_CHANNEL && outcome != ACCESS_OTHER_UID &&
	    outcome != ACCESS_OTHER_GID)
		return;
	n = snprintf(why->text + why->len, room, "%s%u %s",
	    why->len > 0 ? "; " : "", line, access_outcome_words(outcome));
	if (n > 0 && (size_t)n < room)
		why->len += (size_t)n;
	else
		why->text[why->len] = '\0';
}

void
rights_explain(const struct rights *r, const struct identity *id,
    struct span channel, struct rights_why *why)
{
	struct access_person who = person_of(id);

	why->len = 0;
	why->text[0] = '\0';
	if (r->access.is_set && channel.len > 0)
		access_explain(r->access.rules, &who, ACCESS_PUBLISH, channel,
		    add_why, why);
}
