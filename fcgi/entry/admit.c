/* SPDX-License-Identifier: MIT */
/*
 * From a request to a stream.  What an EventSource must know is said in-band
 * on a 200, because it treats every other status as final.  Never blocks but
 * for the store's answers.
 */
#include "admit_private.h"

#include <assert.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

#include "address.h"
#include "authorizer.h"
#include "authz.h"
#include "clock.h"
#include "conf.h"
#include "hashtable.h"
#include "hub.h"
#include "log.h"
#include "random.h"
#include "record.h"
#include "rejudge.h"
#include "replay.h"
#include "reply.h"
#include "request.h"
#include "request_log.h"
#include "revocation.h"
#include "stream_log.h"
#include "tail.h"

#define FIRST_BYTES_MAX 8192
#define SHOWN_BYTES     48 /* of a value in a log line */
#define STREAM_ID_BYTES 16
#define SHARE_MIN       4 /* slots that any address may have */
#define REFUSAL_BYTES   512
#define UNAUTHORIZED                                                           \
	"The token that came with this request is not valid here: get a new "  \
	"one, and come back with it."
#define CHALLENGE       "Bearer error=\"invalid_token\""
#define OVERLOAD_FACTOR 2 /* those told to wait come back this much later */

/* One admission under way. */
struct entry {
	struct admit *a;
	struct request req;
	const struct params *params;
	int fd;
	uint16_t request_id;
	enum front front;
	struct stream *s;
	struct pass *pass; /* who it is; NULL: nobody in particular */
	bool expired;      /* the token that came has */
	bool asks;         /* the application decides */
	bool revoked;      /* meanwhile; */
	bool unsure;       /* whether he was */
	struct buf out;
	uint64_t number; /* of the stream, and the same as text: */
	char id[STREAM_ID_BYTES + 1];
	/* the position */
	int64_t cursor;
	int64_t resumed_from; /* -1: none */
	bool has_gap;
	struct frame_gap gap;
};

static void
send_reply(struct entry *e)
{
	reply_send(e->a->o.replies, e->fd, e->request_id, buf_span(&e->out));
	e->fd = -1;
}

static void
drop(struct entry *e)
{
	if (e->fd >= 0)
		(void)close(e->fd);
	e->fd = -1;
}

/* ---- refusals ------------------------------------------------------------ */

static void
send_error(struct entry *e, const struct http_error *error)
{
	enum status st = http_error(&e->out, error, e->req.origin,
	    e->req.head_only);

	if (st == ST_OK)
		send_reply(e);
}

static enum admit_refuse
refuse_of(int status)
{
	static const int statuses[ADMIT_REFUSES] = {
#define X(member, status) [ADMIT_##member] = (status),
	    ADMIT_REFUSE_LIST(X)
#undef X
	};
	int i = 0;

	while (i < ADMIT_OTHER && statuses[i] != status)
		i++;
	return (enum admit_refuse)i;
}

static void
admit_send_refusal(struct entry *e)
{
	struct admit *a = e->a;

	a->counters.n_refused[refuse_of(e->req.error.status)]++;
	request_log_refuse(&e->req, e->front, loop_now_us(a->o.loop));
	send_error(e, &e->req.error);
}

static int64_t
retry_for_overload(struct admit *a)
{
	return (int64_t)random_jitter(&a->random,
	    (uint64_t)a->o.conf->retry_ms * OVERLOAD_FACTOR);
}

static int64_t
jittered_retry(struct admit *a)
{
	return (
	    int64_t)random_jitter(&a->random, (uint64_t)a->o.conf->retry_ms);
}

/* A stream that is told at once why it ends, and when to come back. */
static void
close_softly(struct entry *e, enum frame_reason reason, int64_t retry_ms)
{
	enum status st = http_stream_head(&e->out, span_str(e->id),
	    e->req.origin);

	if (st == ST_OK && !e->req.head_only)
		st = frame_close(&e->out, reason, retry_ms);
	if (st == ST_OK)
		send_reply(e);
}

static void
overload(struct entry *e, enum admit_reject why)
{
	struct admit *a = e->a;
	int64_t retry_ms = retry_for_overload(a);
	struct http_error error = {
	    .status = why == ADMIT_ADDRESS ? 429 : 503,
	    .detail = why == ADMIT_ADDRESS
		? SPAN("Too many streams from this address; close one or "
		       "come back later.")
		: SPAN("All streams of this server are taken; come back "
		       "later."),
	    .retry_after_s = (int)((retry_ms + 999) / 1000),
	};

	if (a->o.conf->reject == CONF_REJECT_HARD)
		send_error(e, &error);
	else
		close_softly(e, CLOSE_OVERLOAD, retry_ms);
}

const char *
admit_reject_name(enum admit_reject why)
{
	static const char *const names[ADMIT_REJECTS] = {
#define X(member, word) [ADMIT_##member] = (word),
	    ADMIT_REJECT_LIST(X)
#undef X
	};

	return names[why];
}

static void
reject(struct entry *e, enum admit_reject why)
{
	struct admit *a = e->a;

	a->counters.n_rejected[why]++;
	a->counters.n_front_rejected[e->front]++;
	request_log_reject(e->number, &e->req, e->front, admit_reject_name(why),
	    loop_now_us(a->o.loop));
	/* Of an expired token a page hears in time to fetch a fresh one; no
	 * other status would let it. */
	if (why == ADMIT_DRAIN)
		close_softly(e, CLOSE_DRAIN, jittered_retry(a));
	else if (why == ADMIT_EXPIRED)
		close_softly(e, CLOSE_AUTH_EXPIRED, jittered_retry(a));
	else if (why == ADMIT_REVOKED)
		close_softly(e, CLOSE_REVOKED, jittered_retry(a));
	else
		overload(e, why);
}

/* ---- who may ------------------------------------------------------------- */

static void
refuse_entry(struct entry *e, const struct http_error *error,
    struct span channel, struct span why)
{
	struct admit *a = e->a;
	const struct request_log_denial denial = {.stream = e->number,
	    .req = &e->req,
	    .front = e->front,
	    .status = error->status,
	    .channel = channel,
	    .why = why};

	a->counters.n_refused[refuse_of(error->status)]++;
	request_log_denied(&denial, loop_now_us(a->o.loop));
	send_error(e, error);
}

static void
refuse_token(struct entry *e, enum token_fault why)
{
	const struct http_error error = {.status = 401,
	    .detail = {UNAUTHORIZED, sizeof(UNAUTHORIZED) - 1},
	    .challenge = {CHALLENGE, sizeof(CHALLENGE) - 1},
	    .stream = span_str(e->id)};

	refuse_entry(e, &error, SPAN_NONE, span_str(token_fault_name(why)));
}

/* The answer names the channel; why he may not read it, only the log. */
static void
refuse_channel(struct entry *e, size_t first)
{
	struct span channel = e->req.channel[first];
	char tried[AUTHZ_TRIED_BYTES], detail[REFUSAL_BYTES];
	struct http_error error = {.status = 403, .stream = span_str(e->id)};

	(void)snprintf(detail, sizeof(detail),
	    "The channel \"%.*s\" is not open to you: sign in, or ask whoever "
	    "runs this site.",
	    (int)channel.len, channel.p);
	error.detail = span_str(detail);
	authz_count_refused(e->a->o.authz, e->asks);
	refuse_entry(e, &error, channel,
	    authz_tried(e->a->o.authz, e->pass, channel, tried));
}

/* False: he may not, and was told.  True with e->asks: ask the application. */
static bool
entry_may_read(struct entry *e)
{
	size_t first;

	switch (authz_judge(e->a->o.authz, e->pass, e->req.channel,
	    e->req.n_channels, &first)) {
	case AUTHZ_ALLOWED:
		e->asks = false;
		return true;
	case AUTHZ_ASK:
		e->asks = true;
		return true;
	case AUTHZ_REFUSED:
		break;
	}
	if (e->expired)
		reject(e, ADMIT_EXPIRED);
	else
		refuse_channel(e, first);
	return false;
}

/* Who is it, and may he read that? */
static bool
let_in(struct entry *e)
{
	enum token_fault why;

	switch (
	    authz_identify(e->a->o.authz, e->params, &e->req, &e->pass, &why)) {
	case AUTHZ_KNOWN:
		return entry_may_read(e);
	case AUTHZ_EXPIRED:
		e->expired = true;
		return entry_may_read(e);
	case AUTHZ_FORGED:
		refuse_token(e, why);
		return false;
	case AUTHZ_UNSURE:
		reject(e, ADMIT_UNAVAILABLE);
		return false;
	case AUTHZ_NOMEM:
		break;
	}
	return false;
}

/* ---- limits -------------------------------------------------------------- */

/* Has the web server had the time to add threads for one more stream? */
static bool
ramp_allows(struct entry *e)
{
	int64_t rate = e->req.ramp;

	if (rate < 0)
		rate = e->req.thread_per_stream
		    ? ramp_default(e->req.max_streams)
		    : 0;
	return rate == 0 ||
	    ramp_admits(&e->a->ramp, loop_now_us(e->a->o.loop),
		(int64_t)hub_n_streams(e->a->o.hub), rate);
}

/* Remembers a location's pool, whose slots are counted for the metrics. */
static void
remember_pool(struct admit *a, uint32_t key, int64_t max)
{
	size_t i = 0;

	while (i < a->n_pools && a->pool[i].key != key)
		i++;
	if (i == ADMIT_POOLS)
		return;
	if (i == a->n_pools)
		a->pool[a->n_pools++] = slots_count_begin(key, max);
	else if (a->pool[i].max != max)
		a->pool[i] = slots_count_begin(key, max);
}

/* Are more than half of the web server's slots taken? */
static bool
slots_are_short(const struct entry *e)
{
	const struct admit *a = e->a;
	int64_t taken = e->s->slot, max = e->req.max_streams;
	size_t i;

	/* In a small pool the lowest that is free was taken. */
	for (i = 0; max > SLOTS_LOWEST_FIRST && i < a->n_pools; i++)
		if (a->pool[i].key == e->s->pool_key)
			taken = a->pool[i].taken;
	return taken >= max / 2;
}

/*
 * While slots are short, one address gets a share of them and no more: who
 * holds them all, or takes one after the other and leaves, keeps nobody out.
 */
static bool
within_share(struct entry *e)
{
	struct stream *s = e->s;
	int64_t percent = e->req.share, max = e->req.max_streams;
	uint64_t of[2] = {s->pool_key, address_key(e->req.remote)};
	int64_t share;

	if (percent < 0 || percent >= 100 || e->req.remote.len == 0)
		return true;
	share = max / 100 * percent + max % 100 * percent / 100;
	if (share < SHARE_MIN)
		share = SHARE_MIN;
	s->share_key = slots_key(e->a->o.slots, SPAN("share"),
	    span_of((const char *)of, sizeof(of)));
	if (slots_take(e->a->o.slots, s->share_key, max, &s->share_slot) !=
	    ST_OK)
		return false;
	return s->share_slot < share || !slots_are_short(e);
}

/*
 * Takes a slot of the web server's, if it said how many there are.  The ramp
 * comes last: who is refused for another reason has not spent any of it.
 * False: *why says what it lacks.
 */
static bool
take_front_slot(struct entry *e, enum admit_reject *why)
{
	struct stream *s = e->s;

	if (e->req.max_streams < 0 || e->a->o.slots == NULL)
		return true;
	s->pool_key = slots_key(e->a->o.slots, SPAN("front"), e->req.slot_pool);
	remember_pool(e->a, s->pool_key, e->req.max_streams);
	*why = ADMIT_SLOTS;
	if (slots_take(e->a->o.slots, s->pool_key, e->req.max_streams,
		&s->slot) != ST_OK)
		return false;
	*why = ADMIT_ADDRESS;
	if (!within_share(e))
		return false;
	*why = ADMIT_RAMP;
	return ramp_allows(e);
}

static bool
take_address_slot(struct entry *e)
{
	struct stream *s = e->s;
	int64_t max = e->a->o.conf->max_streams_per_address;
	uint64_t key;

	if (max == 0 || e->a->o.slots == NULL || e->req.remote.len == 0)
		return true;
	key = address_key(e->req.remote);
	s->address_key = slots_key(e->a->o.slots, SPAN("address"),
	    span_of((const char *)&key, sizeof(key)));
	return slots_take(e->a->o.slots, s->address_key, max,
		   &s->address_slot) == ST_OK;
}

void
admit_release(struct admit *a, const struct stream *s)
{
	struct pass *pass = s->pass;

	pass_unref(&pass);
	if (a->o.slots == NULL)
		return;
	slots_give(a->o.slots, s->pool_key, s->slot);
	slots_give(a->o.slots, s->address_key, s->address_slot);
	slots_give(a->o.slots, s->share_key, s->share_slot);
}

/* False: *why says which one it would cross. */
static bool
within_limits(struct entry *e, enum admit_reject *why)
{
	struct admit *a = e->a;

	*why = ADMIT_DRAIN;
	if (a->draining)
		return false;
	*why = ADMIT_MAX_STREAMS;
	if (hub_n_streams(a->o.hub) >= (size_t)a->o.conf->max_streams)
		return false;
	*why = ADMIT_ADDRESS;
	return take_address_slot(e) && take_front_slot(e, why);
}

/* ---- the position -------------------------------------------------------- */

static void
set_gap(struct entry *e, enum frame_gap_code code, int64_t position,
    int64_t lost)
{
	const struct store_bounds *b = hub_bounds(e->a->o.hub);

	e->has_gap = true;
	e->cursor = position;
	e->gap = (struct frame_gap){
	    .code = code,
	    .requested = e->req.requested,
	    .position = position,
	    .oldest = b->oldest,
	    .newest = b->head,
	    .lost = lost,
	};
}

static void
place_after(struct entry *e, int64_t id)
{
	const struct store_bounds *b = hub_bounds(e->a->o.hub);

	e->resumed_from = id;
	if (id > b->head) {
		set_gap(e, GAP_AHEAD, b->oldest - 1, b->oldest - 1);
		return;
	}
	e->cursor = id;
	if (id < b->oldest - 1)
		set_gap(e, GAP_EXPIRED, b->oldest - 1, b->oldest - 1 - id);
}

/*
 * A browser that was connected before the first event came sends the 0 that
 * it was given; if the first events are gone by now, it must hear of it.
 * Asked for in the query, 0 means what is there.
 */
static void
place_earliest(struct entry *e)
{
	if (span_eq(params_get(e->params, "HTTP_LAST_EVENT_ID"), SPAN("0"))) {
		place_after(e, 0);
		return;
	}
	e->cursor = hub_bounds(e->a->o.hub)->oldest - 1;
}

static void
place_last(struct entry *e)
{
	int64_t at = hub_head(e->a->o.hub);

	if (replay_newest(e->a->o.replay, e->s->sub, (int)e->req.last_n, &at) !=
	    ST_OK)
		at = hub_head(e->a->o.hub);
	e->cursor = at;
}

static bool
foreign_generation(const struct entry *e)
{
	struct span ours = span_str(hub_bounds(e->a->o.hub)->generation);

	return e->req.generation.len > 0 && !span_eq(e->req.generation, ours) &&
	    e->req.position != POSITION_LIVE &&
	    e->req.position != POSITION_LAST;
}

static void
find_position(struct entry *e)
{
	const struct store_bounds *b = hub_bounds(e->a->o.hub);

	e->resumed_from = -1;
	if (foreign_generation(e)) {
		set_gap(e, GAP_GENERATION, b->oldest - 1, b->oldest - 1);
		return;
	}
	switch (e->req.position) {
	case POSITION_LIVE:
		e->cursor = hub_head(e->a->o.hub);
		break;
	case POSITION_AFTER:
		place_after(e, e->req.after_id);
		break;
	case POSITION_EARLIEST:
		place_earliest(e);
		break;
	case POSITION_LAST:
		place_last(e);
		break;
	case POSITION_INVALID:
		set_gap(e, GAP_INVALID, hub_head(e->a->o.hub), 0);
		break;
	}
}

/*
 * Be up to date before judging an id: another worker may have sent this
 * client an event that we have not read yet; and "from now" means after all
 * that was acknowledged before.  False: we are not, come back.
 */
static bool
know_the_log(struct entry *e)
{
	struct admit *a = e->a;
	int64_t head = INT64_MAX; /* without the store nobody knows */

	if (tail_refresh(a->o.tail) == ST_OK)
		head = hub_bounds(a->o.hub)->head;
	if (head != INT64_MAX && head > hub_head(a->o.hub))
		tail_catch_up(a->o.tail, head);
	return hub_head(a->o.hub) >= head ||
	    e->req.position != POSITION_AFTER ||
	    e->req.after_id <= hub_head(a->o.hub);
}

/* ---- the first bytes ----------------------------------------------------- */

static void
name_stream(struct entry *e)
{
	e->number = random_next(&e->a->random);
	(void)snprintf(e->id, sizeof(e->id), "%016llx",
	    (unsigned long long)e->number);
}

/*
 * Where the open frame leaves the client, should the connection break right
 * behind it: the gap must still be told then.
 */
static int64_t
open_position(const struct entry *e)
{
	if (!e->has_gap)
		return e->cursor;
	return e->gap.code == GAP_EXPIRED ? e->resumed_from : -1;
}

static enum status
compose(struct entry *e)
{
	const struct store_bounds *b = hub_bounds(e->a->o.hub);
	const struct conf *c = e->a->o.conf;
	struct frame_open open = {
	    .stream = span_str(e->id),
	    .generation = span_str(b->generation),
	    .position = open_position(e),
	    .resumed_from = e->resumed_from,
	    .head = b->head,
	    .oldest = b->oldest,
	    .retry_ms = (int64_t)random_jitter(&e->a->random,
		(uint64_t)c->retry_ms),
	    .heartbeat_ms = c->heartbeat_ms,
	    .server_time_ms = clock_real_ms(),
	};
	enum status st = http_stream_head(&e->out, span_str(e->id),
	    e->req.origin);

	if (st == ST_OK && e->req.padding)
		st = frame_padding(&e->out);
	if (st == ST_OK)
		st = frame_open(&e->out, &open);
	if (st == ST_OK && e->has_gap)
		st = frame_gap(&e->out, &e->gap);
	return st;
}

static void
note_opening(const struct entry *e, uint64_t stream)
{
	struct admit *a = e->a;
	uint64_t now_us = loop_now_us(a->o.loop);
	struct request_log_opening o = {
	    .stream = stream,
	    .req = &e->req,
	    .front = e->front,
	    .trace = params_get(e->params, "HTTP_TRACEPARENT"),
	    .from = e->cursor,
	    .with_gap = e->has_gap,
	};

	request_log_open(&o, now_us);
	if (e->has_gap) {
		hub_count_gap(a->o.hub, e->gap.code);
		stream_log_gap(stream, &e->gap, now_us);
	}
	if (!e->req.resumes)
		return;
	if (e->has_gap) {
		a->counters.n_resumes_gap++;
		a->counters.n_mismatch[e->gap.code]++;
	} else {
		a->counters.n_resumes_ok++;
	}
}

/* Hands the stream to the hub. */
static enum status
admit_start(struct entry *e)
{
	struct admit *a = e->a;
	struct stream *s = e->s;
	enum status st = compose(e);

	if (st != ST_OK)
		return st;
	s->watch.fd = e->fd;
	s->request_id = e->request_id;
	s->front = (uint8_t)e->front;
	s->heartbeat_events = e->req.heartbeat_events;
	s->place = (struct chunk_place){.cursor = e->cursor};
	s->id = e->number;
	s->pass = e->pass;
	rejudge_begin(a->o.rejudge, s);
	st = hub_open(a->o.hub, s, buf_span(&e->out));
	if (st != ST_OK)
		return st;
	note_opening(e, s->id);
	e->fd = -1;
	e->s = NULL;
	e->pass = NULL;
	return ST_OK;
}

static void
abandon(struct entry *e)
{
	struct stream *s = e->s;

	pass_unref(&e->pass);
	if (s == NULL)
		return;
	s->pass = NULL;
	admit_release(e->a, s);
	if (s->sub != NULL)
		hub_unsubscribe(e->a->o.hub, &s->sub);
	free(s->pend);
	free(s);
}

static void
end_entry(struct entry *e)
{
	abandon(e);
	drop(e);
	request_fini(&e->req);
	buf_fini(&e->out);
}

/* Nobody outside can tell who shares his queue. */
static uint8_t
queue_of(struct span remote)
{
	uint64_t key = address_key(remote);

	return hashtable_hash(&key, sizeof(key)) % HUB_QUEUES;
}

/* Takes what limits how many there are.  False: told why not. */
static bool
take_room(struct entry *e)
{
	enum admit_reject why;

	e->s = calloc(1, sizeof(*e->s));
	if (e->s == NULL)
		return false;
	e->s->watch.fd = -1;
	e->s->slot = SLOT_NONE;
	e->s->address_slot = SLOT_NONE;
	e->s->share_slot = SLOT_NONE;
	if (within_limits(e, &why))
		return true;
	reject(e, why);
	return false;
}

/*
 * What the log said since he was judged concerns him, too, though he was no
 * stream so far.
 */
static bool
stays_unrevoked(struct entry *e)
{
	if (e->revoked)
		reject(e, ADMIT_REVOKED);
	else if (e->unsure && e->pass != NULL)
		reject(e, ADMIT_UNAVAILABLE);
	return !e->revoked && (!e->unsure || e->pass == NULL);
}

/* True: the stream is open. */
static bool
open_stream(struct entry *e)
{
	struct admit *a = e->a;
	struct sub_spec spec = {e->req.channel, e->req.n_channels, e->req.event,
	    e->req.n_events, e->req.envelope};

	if (hub_subscribe(a->o.hub, &spec, &e->s->sub) != ST_OK)
		return false;
	e->s->queue = queue_of(e->req.remote);
	if (!know_the_log(e)) {
		reject(e, ADMIT_UNAVAILABLE);
		return false;
	}
	if (!stays_unrevoked(e))
		return false;
	find_position(e);
	return admit_start(e) == ST_OK;
}

/* A client that came back and got no stream has not resumed. */
static void
count_return(struct entry *e, bool opened)
{
	struct admit_counters *c = &e->a->counters;

	if (!e->req.resumes)
		return;
	c->n_came_back++;
	if (!opened)
		c->n_resumes_failed++;
}

/* ---- those that wait for the application --------------------------------- */

/* A request that goes on when the answer has come. */
struct waiting {
	TAILQ_ENTRY(waiting) link;
	struct entry e;
	struct params params;
	struct authorizer_wait *wait;
	uint8_t bucket; /* of its address */
};

static uint8_t
waiting_bucket(const struct entry *e)
{
	uint64_t key = address_key(e->req.remote);

	return (
	    uint8_t)(hashtable_hash(&key, sizeof(key)) % ADMIT_WAIT_BUCKETS);
}

/* Bounded for all, and for those of one address. */
static bool
may_wait(const struct entry *e)
{
	const struct admit *a = e->a;

	return a->n_waiting < ADMIT_WAITING &&
	    a->waiting_bytes < ADMIT_WAITING_BYTES &&
	    a->n_of_bucket[waiting_bucket(e)] < ADMIT_WAITING_ADDRESS;
}

static size_t
size_of_waiting(const struct waiting *w)
{
	return sizeof(*w) + w->params.text.len + w->e.req.text.len;
}

static struct request_rules
request_rules_of(const struct admit *a)
{
	return (struct request_rules){
	    .default_channel = span_str(a->o.conf->default_channel),
	    .allow_origin = span_str(a->o.conf->allow_origin),
	};
}

/* Takes over all that the entry holds; NULL: no memory, it keeps it. */
static struct waiting *
new_waiting(struct entry *e)
{
	struct request_rules rules = request_rules_of(e->a);
	struct waiting *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	params_init(&w->params);
	w->e = *e;
	w->e.params = &w->params;
	buf_init(&w->e.out, FIRST_BYTES_MAX);
	request_init(&w->e.req);
	if (params_copy(&w->params, e->params) != ST_OK ||
	    request_read(&w->e.req, &w->params, &rules) != ST_OK) {
		request_fini(&w->e.req);
		params_fini(&w->params);
		free(w);
		return NULL;
	}
	e->fd = -1;
	e->s = NULL;
	e->pass = NULL;
	w->bucket = waiting_bucket(&w->e);
	TAILQ_INSERT_TAIL(&e->a->waiting, w, link);
	e->a->n_waiting++;
	e->a->n_of_bucket[w->bucket]++;
	e->a->waiting_bytes += size_of_waiting(w);
	return w;
}

static void
end_waiting(struct waiting *w)
{
	struct admit *a = w->e.a;

	authorizer_cancel(&w->wait);
	TAILQ_REMOVE(&a->waiting, w, link);
	a->n_waiting--;
	a->n_of_bucket[w->bucket]--;
	a->waiting_bytes -= size_of_waiting(w);
	end_entry(&w->e);
	params_fini_wiped(&w->params);
	free(w);
}

size_t
admit_n_waiting(const struct admit *a)
{
	return a->n_waiting;
}

/* ---- requests ------------------------------------------------------------ */

static void
send_head(struct entry *e)
{
	if (http_stream_head(&e->out, SPAN_NONE, e->req.origin) == ST_OK)
		send_reply(e);
}

/* Everything but the application's answer is known, or that, too. */
static void
go_on(struct entry *e)
{
	struct admit *a = e->a;

	if (e->req.kind == REQUEST_HEAD) {
		send_head(e);
		return;
	}
	a->current = e;
	count_return(e, open_stream(e));
	a->current = NULL;
}

/* Goes on when the application has answered; for authorizer_ask. */
static void
on_answer(void *arg, struct authorizer_answer *answer)
{
	struct waiting *w = arg;
	struct entry *e = &w->e;

	w->wait = NULL;
	if (e->a->draining) {
		count_return(e, false);
		reject(e, ADMIT_DRAIN);
	} else if (!stays_unrevoked(e)) {
		count_return(e, false);
	} else if (answer->result != AUTHORIZER_ALLOWED &&
	    answer->result != AUTHORIZER_REFUSED) {
		count_return(e, false);
		reject(e, ADMIT_APP);
	} else {
		authorizer_unref(&e->pass->answer);
		e->pass->answer = authorizer_ref(answer);
		if (entry_may_read(e))
			go_on(e);
		else
			count_return(e, false);
	}
	end_waiting(w);
}

/*
 * Waits for the application.  What the request says is read again, out of a
 * copy, since the one at hand is gone when the answer comes.
 */
static void
ask_application(struct entry *e)
{
	struct waiting *w = NULL;
	struct authorizer_question q;

	if (authz_question(e->a->o.authz, e->params, &e->req, &e->pass) !=
	    ST_OK)
		return;
	if (!may_wait(e) || (w = new_waiting(e)) == NULL) {
		count_return(e, false);
		reject(e, ADMIT_APP);
		return;
	}
	q = rejudge_question(w->e.pass);
	if (authorizer_ask(e->a->o.authorizer, &q, false, on_answer, w,
		&w->wait) != ST_OK) {
		reject(&w->e, ADMIT_APP);
		end_waiting(w);
	}
}

static void
answer_reader(struct entry *e)
{
	bool in;

	e->a->current = e;
	in = let_in(e) && (e->req.kind == REQUEST_HEAD || take_room(e));
	e->a->current = NULL;

	if (!in)
		count_return(e, false);
	else if (e->asks)
		ask_application(e);
	else
		go_on(e);
}

static void
answer(struct entry *e)
{
	name_stream(e);
	switch (e->req.kind) {
	case REQUEST_STREAM:
		e->a->counters.n_asked++;
		answer_reader(e);
		break;
	case REQUEST_HEAD:
		answer_reader(e);
		break;
	case REQUEST_PREFLIGHT:
		if (http_preflight(&e->out, e->req.origin) == ST_OK)
			send_reply(e);
		break;
	case REQUEST_REFUSED:
		count_return(e, false);
		admit_send_refusal(e);
		break;
	}
}

/* Logs a limit in the web server's configuration that is no number. */
static void
tell_bad_limit(struct admit *a, const struct request *r)
{
	struct span shown = span_of(r->bad_value.p,
	    r->bad_value.len > SHOWN_BYTES ? SHOWN_BYTES : r->bad_value.len);

	if (r->bad_limit == NULL ||
	    !log_state(&a->bad_limit, 0, loop_now_us(a->o.loop)))
		return;
	log_warnx("%s is \"%.*s\" in the web server's configuration, which is "
		  "no number: %s until it is one",
	    r->bad_limit, (int)shown.len, shown.p, r->bad_means);
}

void
admit_request(struct admit *a, int fd, uint16_t request_id,
    const struct params *params)
{
	struct request_rules rules = request_rules_of(a);
	struct entry e = {.a = a,
	    .params = params,
	    .fd = fd,
	    .request_id = request_id};

	buf_init(&e.out, FIRST_BYTES_MAX);
	request_init(&e.req);
	if (request_read(&e.req, params, &rules) == ST_OK) {
		e.front = request_id == 0 ? FRONT_CGI : e.req.front;
		tell_bad_limit(a, &e.req);
		answer(&e);
	}
	end_entry(&e);
}

/* ---- revocations --------------------------------------------------------- */

static void
obey(struct admit *a, const struct revocation *v)
{
	struct waiting *w;

	rejudge_revoked(a->o.rejudge, v);
	TAILQ_FOREACH (w, &a->waiting, link)
		w->e.revoked = w->e.revoked ||
		    rejudge_names(w->e.pass, w->e.number, v);
	if (a->current != NULL &&
	    rejudge_names(a->current->pass, a->current->number, v))
		a->current->revoked = true;
}

static void
doubt_all(struct admit *a)
{
	struct waiting *w;

	if (a->o.authorizer != NULL)
		authorizer_forget(a->o.authorizer, SPAN_NONE);
	rejudge_all(a->o.rejudge, true);
	TAILQ_FOREACH (w, &a->waiting, link)
		w->e.unsure = true;
	if (a->current != NULL)
		a->current->unsure = true;
}

void
admit_revoked(struct admit *a, const struct event *e)
{
	struct revocation v;
	struct buf text;

	if (e == NULL) {
		doubt_all(a);
		return;
	}
	buf_init(&text, REVOCATION_MAX_VALUE);
	if (revocation_decode(e->data, &text, &v) == ST_OK) {
		obey(a, &v);
	} else {
		log_warnx("event %lld of the log is a revocation that cannot "
			  "be read: every stream is looked up",
		    (long long)e->id);
		doubt_all(a);
	}
	buf_fini(&text);
}

/* ---- making -------------------------------------------------------------- */

enum status
admit_new(struct admit **out, const struct admit_options *o)
{
	struct admit *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return ST_NOMEM;
	a->o = *o;
	a->random = random_seed();
	TAILQ_INIT(&a->waiting);
	*out = a;
	return ST_OK;
}

void
admit_free(struct admit **a)
{
	if (*a == NULL)
		return;
	while (!TAILQ_EMPTY(&(*a)->waiting))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) unlinked */
		end_waiting(TAILQ_FIRST(&(*a)->waiting));
	free(*a);
	*a = NULL;
}

void
admit_drain(struct admit *a)
{
	a->draining = true;
}

/* ---- for the metrics ----------------------------------------------------- */

const struct admit_counters *
admit_counters(const struct admit *a)
{
	return &a->counters;
}

bool
admit_least_room(struct admit *a, uint64_t until_us, int64_t *room,
    int64_t *cap)
{
	bool found = false;
	size_t i;

	for (i = 0; i < a->n_pools; i++) {
		struct slots_count *c = &a->pool[i];

		slots_count_go(a->o.slots, c, until_us);
		if (c->taken < 0 || (found && c->max - c->taken >= *room))
			continue;
		found = true;
		*room = c->max - c->taken;
		*cap = c->max;
	}
	return found;
}
