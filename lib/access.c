/* SPDX-License-Identifier: MIT */
/*
 * Judging by the rules of access.conf(5).  A verdict costs one look at each
 * line, and no memory.  Pure.
 */
#include "access_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "name.h"

#define VERIFY SPAN("SSL_CLIENT_VERIFY")

bool
access_covers(struct span outer, struct span inner)
{
	if (outer.len == 0 || inner.len == 0)
		return false;
	if (outer.p[outer.len - 1] != '*')
		return span_eq(outer, inner);
	outer.len--;
	if (inner.p[inner.len - 1] == '*')
		inner.len--;
	return span_starts(inner, outer);
}

/* ---- groups -------------------------------------------------------------- */

int
access_compare(struct span a, struct span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* The first member that is not before (group, user). */
static size_t
member_at(const struct access *a, struct span group, struct span user)
{
	size_t low = 0, high = a->n_members;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct access_member *m = &a->member[mid];
		int c = access_compare(m->group, group);

		if (c == 0)
			c = access_compare(m->user, user);
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
access_in_group(const struct access *a, struct span group, struct span user)
{
	size_t i = member_at(a, group, user);

	return i < a->n_members && span_eq(a->member[i].group, group) &&
	    span_eq(a->member[i].user, user);
}

bool
access_has_group(const struct access *a, struct span group)
{
	size_t i = member_at(a, group, SPAN(""));

	return i < a->n_members && span_eq(a->member[i].group, group);
}

/* ---- patterns ------------------------------------------------------------ */

/* Bytes of a value that stand as they are; all others are written %XX. */
static bool
stands(enum access_variable v, char c)
{
	bool label = v == ACCESS_VAR_USER_LABEL || v == ACCESS_VAR_VALUE_LABEL;

	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr(label ? "_-@" : "_.:/-@~+=", c) != NULL;
}

/* What variables stand for; empty: for nothing, and the pattern with them. */
struct access_values {
	struct span user, value;
};

static struct span
value_of(enum access_variable v, const struct access_values *is)
{
	return v == ACCESS_VAR_USER || v == ACCESS_VAR_USER_LABEL ? is->user
								  : is->value;
}

/* Takes a part off the front of the channel; false: it is another. */
static bool
eat(struct span *channel, struct span part)
{
	if (!span_starts(*channel, part))
		return false;
	*channel = span_skip(*channel, part.len);
	return true;
}

/* The same for a value, each byte as it is written in a channel. */
static bool
eat_value(struct span *channel, enum access_variable v, struct span value)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.p[i];
		char coded[3] = {'%', hex[c >> 4], hex[c & 15]};

		if (!eat(channel,
			stands(v, value.p[i]) ? span_of(value.p + i, 1)
					      : span_of(coded, 3)))
			return false;
	}
	return value.len > 0;
}

/*
 * Does the pattern, with these values, cover all of `channel`?  Nothing is put
 * together for it: most patterns differ in their first bytes.
 */
static bool
pattern_covers(const struct access_pattern *t, const struct access_values *is,
    struct span channel)
{
	bool asks_prefix = channel.p[channel.len - 1] == '*';

	if (asks_prefix && !t->prefix)
		return false;
	if (asks_prefix)
		channel.len--;
	if (!eat(&channel, t->before))
		return false;
	if (t->variable != ACCESS_VAR_NONE &&
	    !eat_value(&channel, t->variable, value_of(t->variable, is)))
		return false;
	return eat(&channel, t->after) && (t->prefix || channel.len == 0);
}

static bool
rule_covers(const struct access_rule *r, struct span user, struct span value,
    struct span channel)
{
	const struct access_values is = {user, value};
	size_t i;

	for (i = 0; i < r->n_patterns; i++)
		if (pattern_covers(&r->pattern[i], &is, channel))
			return true;
	return false;
}

/* With any of his names, or none, in the place of $user. */
static bool
covers_for_any(const struct access_rule *r, const struct access_person *p,
    struct span value, struct span channel)
{
	size_t i;

	if (rule_covers(r, SPAN_NONE, value, channel))
		return true;
	for (i = 0; i < ACCESS_MAX_USERS; i++)
		if (p->user[i].len > 0 &&
		    rule_covers(r, p->user[i], value, channel))
			return true;
	return false;
}

/* Could it, by what stands before the variable?  Most lines end here. */
static bool
may_cover(const struct access_pattern *t, struct span channel)
{
	if (channel.p[channel.len - 1] == '*')
		channel.len--;
	if (!span_starts(channel, t->before))
		return false;
	return t->prefix || t->variable != ACCESS_VAR_NONE ||
	    channel.len == t->before.len;
}

/* A prefix that is asked for, of which the line has a part. */
static bool
covers_a_part(const struct access_pattern *t, struct span channel)
{
	if (channel.p[channel.len - 1] != '*')
		return false;
	channel.len--;
	return span_starts(t->before, channel);
}

static enum access_outcome
judge_channel(const struct access_rule *r, struct span channel)
{
	enum access_outcome found = ACCESS_OTHER_CHANNEL;
	size_t i;

	if (r->n_patterns == 0 && channel.p == NULL)
		return ACCESS_ALLOWS;
	for (i = 0; channel.len > 0 && i < r->n_patterns; i++) {
		if (may_cover(&r->pattern[i], channel))
			return ACCESS_ALLOWS;
		if (covers_a_part(&r->pattern[i], channel))
			found = ACCESS_NOT_COVERED;
	}
	return found;
}

/* ---- whom a line is for -------------------------------------------------- */

static bool
names_user(const struct access *a, const struct access_rule *r,
    struct span user)
{
	size_t i;

	if (r->kind == ACCESS_USER && r->n_names == 0)
		return true;
	for (i = 0; i < r->n_names; i++)
		if (r->kind == ACCESS_GROUP
			? access_in_group(a, r->name[i], user)
			: span_eq(r->name[i], user))
			return true;
	return false;
}

/* Lines of users and groups: any of his names will do. */
static enum access_outcome
judge_users(const struct access *a, const struct access_rule *r,
    const struct access_person *p, struct span channel)
{
	enum access_outcome found = ACCESS_NO_USER;
	size_t i;

	for (i = 0; i < ACCESS_MAX_USERS; i++) {
		if (p->user[i].len == 0)
			continue;
		if (names_user(a, r, p->user[i])) {
			if (rule_covers(r, p->user[i], SPAN_NONE, channel))
				return ACCESS_ALLOWS;
			found = ACCESS_OTHER_CHANNEL;
		} else if (found == ACCESS_NO_USER) {
			found = r->kind == ACCESS_GROUP ? ACCESS_NO_GROUP
							: ACCESS_OTHER_USER;
		}
	}
	return found;
}

static struct span
env_of(const struct access_person *p, struct span name)
{
	return p->env == NULL ? SPAN_NONE : p->env(p->env_arg, name);
}

/* What a certificate says counts only when somebody has verified it. */
static bool
is_unverified(const struct access_person *p, struct span name)
{
	return span_starts(name, SPAN("SSL_CLIENT_")) &&
	    !span_eq(env_of(p, VERIFY), SPAN("SUCCESS"));
}

static enum access_outcome
judge_env(const struct access_rule *r, const struct access_person *p,
    struct span channel)
{
	struct span value = env_of(p, r->name[0]);

	if (value.len == 0)
		return ACCESS_NO_ENV;
	if (is_unverified(p, r->name[0]))
		return ACCESS_NO_CERTIFICATE;
	if (r->n_names == 2 && !span_eq(r->name[1], value))
		return ACCESS_OTHER_ENV;
	return covers_for_any(r, p, value, channel) ? ACCESS_ALLOWS
						    : ACCESS_OTHER_CHANNEL;
}

static bool
list_covers(const struct access_list *l, struct span channel)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (access_covers(l->pattern[i], channel))
			return true;
	return false;
}

static enum access_outcome
judge_token(const struct access_rule *r, const struct access_person *p,
    enum access_op op, struct span channel)
{
	const struct access_list *l = op == ACCESS_READ ? p->token_read
							: p->token_publish;

	if (l == NULL)
		return ACCESS_NO_TOKEN;
	if (!covers_for_any(r, p, SPAN_NONE, channel))
		return ACCESS_OTHER_CHANNEL;
	return list_covers(l, channel) ? ACCESS_ALLOWS : ACCESS_OTHER_TOKEN;
}

/*
 * Before the application has answered nobody knows the name that it gives: a
 * line with a variable may be one to ask for.
 */
static enum access_outcome
judge_app(const struct access_rule *r, const struct access_person *p,
    struct span channel)
{
	if (p->app == NULL)
		return ACCESS_APP_NOT_ASKED;
	if (!covers_for_any(r, p, SPAN_NONE, channel))
		return ACCESS_OTHER_CHANNEL;
	return list_covers(p->app, channel) ? ACCESS_ALLOWS
					    : ACCESS_APP_REFUSED;
}

static bool
names_id(const struct access_rule *r, int64_t id)
{
	size_t i;

	for (i = 0; id >= 0 && i < r->n_ids; i++)
		if (r->id[i] == id)
			return true;
	return false;
}

static enum access_outcome
judge_peer(const struct access_rule *r, const struct access_person *p)
{
	size_t i;

	if (r->kind == ACCESS_UID)
		return names_id(r, p->uid) ? ACCESS_ALLOWS : ACCESS_OTHER_UID;
	for (i = 0; i < p->n_gids; i++)
		if (names_id(r, p->gid[i]))
			return ACCESS_ALLOWS;
	return ACCESS_OTHER_GID;
}

static enum access_outcome
judge_rule(const struct access *a, const struct access_rule *r,
    const struct access_person *p, enum access_op op, struct span channel)
{
	enum access_outcome st;

	if ((r->ops & (1u << op)) == 0)
		return ACCESS_OTHER_OP;
	if (op == ACCESS_READ || op == ACCESS_PUBLISH) {
		st = judge_channel(r, channel);
		if (st != ACCESS_ALLOWS)
			return st;
	}
	switch (r->kind) {
	case ACCESS_ANYONE:
		return rule_covers(r, SPAN_NONE, SPAN_NONE, channel)
		    ? ACCESS_ALLOWS
		    : ACCESS_OTHER_CHANNEL;
	case ACCESS_USER:
	case ACCESS_GROUP:
		return judge_users(a, r, p, channel);
	case ACCESS_ENV:
		return judge_env(r, p, channel);
	case ACCESS_TOKEN:
		return judge_token(r, p, op, channel);
	case ACCESS_APP:
		return judge_app(r, p, channel);
	case ACCESS_UID:
	case ACCESS_GID:
		st = judge_peer(r, p);
		if (st != ACCESS_ALLOWS || op == ACCESS_REPORT ||
		    op == ACCESS_REVOKE)
			return st;
		return rule_covers(r, SPAN_NONE, SPAN_NONE, channel)
		    ? ACCESS_ALLOWS
		    : ACCESS_OTHER_CHANNEL;
	case ACCESS_KIND_COUNT:
		break;
	}
	assert(false);
	return ACCESS_OTHER_CHANNEL;
}

/* ---- verdicts ------------------------------------------------------------ */

/* Ours are nobody's, whatever a line says. */
static bool
may_be_asked(enum access_op op, struct span channel)
{
	if (op == ACCESS_REPORT || op == ACCESS_REVOKE)
		return true;
	return name_pattern_ok(channel) && !name_reserved(channel);
}

struct access_verdict
access_judge(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel)
{
	struct access_verdict v = {.allowed = false};
	size_t i;

	if (!may_be_asked(op, channel))
		return v;
	for (i = 0; i < a->n_rules; i++) {
		const struct access_rule *r = &a->rule[i];
		enum access_outcome o = judge_rule(a, r, p, op, channel);

		if (o == ACCESS_ALLOWS)
			return (struct access_verdict){.allowed = true,
			    .line = r->line,
			    .kind = r->kind};
		if (o == ACCESS_APP_NOT_ASKED)
			v.ask_app = true;
	}
	return v;
}

unsigned
access_next(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel, unsigned line)
{
	size_t i;

	if (!may_be_asked(op, channel))
		return 0;
	for (i = 0; i < a->n_rules; i++)
		if (a->rule[i].line > line &&
		    judge_rule(a, &a->rule[i], p, op, channel) == ACCESS_ALLOWS)
			return a->rule[i].line;
	return 0;
}

void
access_explain(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel,
    void (*tell)(void *arg, unsigned line, enum access_outcome outcome),
    void *arg)
{
	bool ours = !may_be_asked(op, channel);
	size_t i;

	for (i = 0; i < a->n_rules; i++)
		tell(arg, a->rule[i].line,
		    ours ? ACCESS_OTHER_CHANNEL
			 : judge_rule(a, &a->rule[i], p, op, channel));
}

/* ---- the lines themselves ------------------------------------------------ */

static const struct access_rule *
find_rule(const struct access *a, unsigned line)
{
	size_t i;

	for (i = 0; i < a->n_rules; i++)
		if (a->rule[i].line == line)
			return &a->rule[i];
	return NULL;
}

struct access_rate
access_rate_of(const struct access *a, unsigned line)
{
	const struct access_rule *r = find_rule(a, line);

	struct access_rate rate = {.per_s = 0};

	if (r == NULL)
		return rate;
	rate = r->rate;
	rate.shared = r->kind == ACCESS_GID;
	return rate;
}

struct span
access_line_text(const struct access *a, unsigned line)
{
	const struct access_rule *r = find_rule(a, line);

	return r == NULL ? SPAN_NONE : r->text;
}

static bool
could_allow(const struct access_rule *r, const struct access_person *p)
{
	return r->kind == ACCESS_ANYONE ||
	    ((r->kind == ACCESS_UID || r->kind == ACCESS_GID) &&
		judge_peer(r, p) == ACCESS_ALLOWS);
}

enum status
access_for_peer(struct access **out, const struct access *a,
    const struct access_person *p, size_t max)
{
	struct access *own;
	size_t i, n = 0;

	for (i = 0; i < a->n_rules; i++)
		n += could_allow(&a->rule[i], p);
	if (n > max)
		return ST_FULL;
	own = calloc(1, sizeof(*own));
	if (own != NULL)
		own->rule = calloc(n + 1, sizeof(own->rule[0]));
	if (own == NULL || own->rule == NULL) {
		access_free(&own);
		return ST_NOMEM;
	}
	for (i = 0; i < a->n_rules; i++)
		if (could_allow(&a->rule[i], p))
			own->rule[own->n_rules++] = a->rule[i];
	*out = own;
	return ST_OK;
}

size_t
access_n_rules(const struct access *a)
{
	return a->n_rules;
}

bool
access_has_kind(const struct access *a, enum access_kind kind)
{
	size_t i;

	for (i = 0; i < a->n_rules; i++)
		if (a->rule[i].kind == kind)
			return true;
	return false;
}

bool
access_names_peer(const struct access *a, const struct access_person *p)
{
	size_t i;

	for (i = 0; i < a->n_rules; i++)
		if ((a->rule[i].kind == ACCESS_UID ||
			a->rule[i].kind == ACCESS_GID) &&
		    judge_peer(&a->rule[i], p) == ACCESS_ALLOWS)
			return true;
	return false;
}

void
access_each_env(const struct access *a, void (*fn)(void *arg, struct span name),
    void *arg)
{
	size_t i;

	for (i = 0; i < a->n_rules; i++)
		if (a->rule[i].kind == ACCESS_ENV)
			fn(arg, a->rule[i].name[0]);
}

const char *
access_kind_name(enum access_kind kind)
{
	static const char *const names[ACCESS_KIND_COUNT] = {
#define X(member, word) [ACCESS_##member] = (word),
	    ACCESS_KINDS(X)
#undef X
	};

	return names[kind];
}

const char *
access_op_name(enum access_op op)
{
	static const char *const names[ACCESS_OP_COUNT] = {
#define X(member, word) [ACCESS_##member] = (word),
	    ACCESS_OPS(X)
#undef X
	};

	return names[op];
}

const char *
access_outcome_words(enum access_outcome outcome)
{
	static const char *const words[ACCESS_OUTCOME_COUNT] = {
#define X(member, text) [ACCESS_##member] = (text),
	    ACCESS_OUTCOMES(X)
#undef X
	};

	return words[outcome];
}
