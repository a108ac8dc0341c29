/* SPDX-License-Identifier: MIT */
/*
 * Any order of events, short writes, joins, pages, heartbeats, lag limits,
 * leaves, retention, a new log and a drain: what each client gets, taken out
 * of its FastCGI records, is the events that it wants from its start on, each
 * once, in order and whole, over all its connections; what it does not get a
 * control.gap has told, and no position is past an event that it lacks.
 *
 * Input: a byte of options, then pairs of bytes, see step().
 */
#include <string.h>

#include "fuzz.h"
#include "hub_private.h"
#include "jsontext.h"
#include "log.h"
#include "sim.h"

#define CLIENTS      5
#define CHANNELS     3
#define STEPS_MAX    48
#define EVENTS_MAX   192
#define DATA_MAX     34000 /* more than a record and than the ring hold */
#define HEARTBEAT_US 1000000
#define TICK_US      (HEARTBEAT_US / 16) /* as lifecycle.c has it */
#define LAG_EVENTS   20
#define TURNS_MAX    20000

static const char *const channel_name[CHANNELS] = {"a", "b", "bc"};

/* What each client wants; channels by bits of their numbers. */
static const struct wish {
	const char *channel[2];
	unsigned wants;
	bool envelope, cgi, heartbeat_events;
} wish[CLIENTS] = {
    {.channel = {"a"}, .wants = 1},
    {.channel = {"b*"}, .wants = 2 | 4},
    {.channel = {"*"}, .wants = 7, .envelope = true},
    {.channel = {"a", "bc"}, .wants = 1 | 4, .cgi = true},
    {.channel = {"*"}, .wants = 7, .heartbeat_events = true},
};

struct client {
	struct stream *s; /* NULL: not connected */
	bool joined;      /* at least once */
	int64_t at;       /* has, or was told of, all that it wants up to */
	bool of_old_log;  /* that is a position in the log before this one */
	bool closed;      /* control.close came */
	bool aborted;     /* the web server gave its request up */
	size_t judged;    /* bytes of an unfinished frame that were looked at */
};

struct written {
	int64_t prev;
	uint32_t bytes;
	uint8_t channel;
};

static struct {
	struct client client[CLIENTS];
	struct written event[EVENTS_MAX + 1]; /* by id */
	int64_t last[CHANNELS];               /* id on each channel */
	int64_t head, oldest;                 /* of the log */
	bool renewed, drained;
} m;

static struct hub *hubs[2], *hub; /* the one that this input has */
static struct loop *loop;
static struct buf frames[2][EVENTS_MAX + 1]; /* plain, envelope; made once */
static char data_bytes[DATA_MAX];

/* ---- the log ----------------------------------------------------------- */

static struct event
event_of(int64_t id)
{
	const struct written *e = &m.event[id];

	return (struct event){.id = id,
	    .prev = e->prev,
	    .channel = span_str(channel_name[e->channel]),
	    .event = SPAN("message"),
	    .kind = EVENT_DATA_TEXT,
	    .data = span_of(data_bytes, e->bytes)};
}

static bool
wants(unsigned i, int64_t id)
{
	return (wish[i].wants >> m.event[id].channel & 1) != 0;
}

/* The first event above `id` that it wants; head + 1 when there is none. */
static int64_t
next_wanted(unsigned i, int64_t id)
{
	for (id++; id <= m.head; id++)
		if (wants(i, id))
			break;
	return id;
}

static struct span
frame_of(unsigned i, int64_t id)
{
	struct buf *b = &frames[wish[i].envelope][id];
	struct event e = event_of(id);

	if (b->len == 0)
		MUST((wish[i].envelope ? frame_envelope(b, &e)
				       : frame_event(b, &e)) == ST_OK);
	return buf_span(b);
}

static void
forget_frames(void)
{
	size_t id;

	for (id = 0; id <= EVENTS_MAX; id++) {
		buf_clear(&frames[0][id]);
		buf_clear(&frames[1][id]);
	}
}

static struct store_bounds
bounds(void)
{
	return (struct store_bounds){.head = m.head,
	    .oldest = m.oldest,
	    .generation = "g"};
}

/* ---- judging what came ------------------------------------------------- */

static int64_t
number_after(struct span text, struct span mark)
{
	const char *p = memmem(text.p, text.len, mark.p, mark.len);
	struct span rest, number;
	int64_t n;

	MUST(p != NULL);
	rest = span_skip(text, (size_t)(p - text.p) + mark.len);
	number = span_of(rest.p, strspn(rest.p, "0123456789"));
	MUST(span_to_int64(number, &n));
	return n;
}

static void
judge_position(unsigned i, int64_t position)
{
	struct client *c = &m.client[i];

	MUST(position >= c->at);
	if (c->of_old_log)
		return;
	MUST(position <= m.head && next_wanted(i, c->at) > position);
	c->at = position;
}

static void
judge_gap(unsigned i, struct span frame)
{
	struct client *c = &m.client[i];
	int64_t position = number_after(frame, SPAN("id: "));
	int64_t asked = number_after(frame, SPAN("\"requested\":"));
	int64_t lost = number_after(frame, SPAN("\"lost\":"));

	MUST(asked >= c->at);
	if (memmem(frame.p, frame.len, "\"generation\"", 12) != NULL) {
		MUST(m.renewed && c->of_old_log);
		MUST(position < m.oldest && lost == position);
		c->of_old_log = false;
		c->at = position;
		return;
	}
	MUST(memmem(frame.p, frame.len, "\"expired\"", 9) != NULL);
	MUST(position > asked && lost == position - asked);
	/* Nothing that was asked of is there still, nothing is left out. */
	MUST(c->of_old_log || position < m.oldest);
	MUST(c->of_old_log || next_wanted(i, c->at) > asked);
	c->at = position;
}

static void
judge_event(unsigned i, struct span frame)
{
	struct client *c = &m.client[i];
	int64_t id = next_wanted(i, c->at);

	MUST(!c->of_old_log && id <= m.head);
	MUST(span_eq(frame, frame_of(i, id)));
	c->at = id;
}

static bool
has(struct span s, struct span part)
{
	return memmem(s.p, s.len, part.p, part.len) != NULL;
}

/* No data line of an event holds what names a control frame. */
static void
judge_frame(unsigned i, struct span frame)
{
	MUST(!m.client[i].closed);
	if (span_starts(frame, SPAN(": hb\n")))
		judge_position(i, number_after(frame, SPAN("\nid: ")));
	else if (has(frame, SPAN("\nevent: system.heartbeat\n")))
		judge_position(i, number_after(frame, SPAN("id: ")));
	else if (has(frame, SPAN("\nevent: control.gap\n")))
		judge_gap(i, frame);
	else if (has(frame, SPAN("\nevent: control.close\n")))
		m.client[i].closed = true;
	else
		judge_event(i, frame);
}

/* Whole frames; a frame ends with its first empty line. */
static void
judge(unsigned i)
{
	struct sim_conn *conn = sim_conn(i);
	struct span text = buf_span(&conn->text), frame;
	const char *end;

	if (text.len == m.client[i].judged && !conn->end_request)
		return; /* nothing came */
	while (text.len > 0 &&
	    (end = memmem(text.p, text.len, "\n\n", 2)) != NULL) {
		frame = span_of(text.p, (size_t)(end - text.p) + 2);
		judge_frame(i, frame);
		text = span_skip(text, frame.len);
	}
	buf_consume(&conn->text, conn->text.len - text.len);
	m.client[i].judged = text.len;
	/* A response that ends in order ends at a frame's end. */
	if (conn->end_request)
		MUST(text.len == 0 &&
		    (m.client[i].closed || m.client[i].aborted));
}

static void
judge_all(void)
{
	unsigned i;

	for (i = 0; i < CLIENTS; i++)
		if (m.client[i].joined)
			judge(i);
}

/* ---- what can happen --------------------------------------------------- */

static void
turn(void)
{
	MUST(loop_turn(loop, 0) == ST_OK);
	hub_serve(hub);
	hub_reap(hub);
}

static void
add_event(unsigned channel, uint32_t bytes)
{
	int64_t id = ++m.head;

	m.event[id] = (struct written){.prev = m.last[channel],
	    .bytes = bytes,
	    .channel = (uint8_t)channel};
	m.last[channel] = id;
}

/* Mostly small, so that there are many; or such that few fill a record. */
static uint32_t
bytes_of(unsigned seed, bool big)
{
	if ((seed >> 8) % 97 == 0)
		return (seed >> 12) % DATA_MAX;
	return (seed >> 12) % (big ? 9000 : 300);
}

static void
give_events(unsigned n, bool big, unsigned seed)
{
	struct event e;
	bool go_on = true;

	while (n-- > 0 && m.head < EVENTS_MAX) {
		seed = seed * 1103515245u + 12345u;
		add_event((seed >> 16) % CHANNELS, bytes_of(seed, big));
		if (!go_on)
			hub_dispatch(hub);
		e = event_of(m.head);
		go_on = hub_take(hub, &e);
	}
	hub_dispatch(hub);
}

static struct sub *
sub_of(const struct wish *w)
{
	const struct span channel[2] = {span_str(w->channel[0]),
	    span_str(w->channel[1])};
	const struct sub_spec spec = {.channel = channel,
	    .n_channels = w->channel[1] == NULL ? 1 : 2,
	    .envelope = w->envelope};
	struct sub *sub = NULL;

	MUST(subs_ref(hub->subs, &spec, &sub) == ST_OK);
	return sub;
}

/* A client comes, the first time anywhere, else where it was. */
static void
join(unsigned i, unsigned where)
{
	struct client *c = &m.client[i];
	struct stream *s;

	if (c->s != NULL || m.drained)
		return;
	if (!c->joined)
		c->at = m.head * (where % 8) / 7;
	if (c->of_old_log)
		c->at = 0; /* it was told with control.open */
	if (c->at < m.oldest - 1)
		c->at = m.oldest - 1; /* and so it was */
	*c = (struct client){.joined = true, .at = c->at};
	c->s = s = calloc(1, sizeof(*s));
	MUST(s != NULL);
	s->watch.fd = sim_open(i, wish[i].cgi);
	s->request_id = wish[i].cgi ? 0 : 1;
	s->slot = s->address_slot = -1;
	s->sub = sub_of(&wish[i]);
	s->heartbeat_events = wish[i].heartbeat_events;
	s->place.cursor = c->at;
	s->epoch = hub_epoch(hub);
	s->end_us = where > 200 ? loop_now_us(loop) + where * 10000 : 0;
	MUST(hub_add(hub, s) == ST_OK);
}

static void
on_ended(void *arg, const struct stream *s)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < CLIENTS; i++)
		if (m.client[i].s == s)
			m.client[i].s = NULL;
}

/* The peer goes, or gives its request up. */
static void
leave(unsigned i, bool politely)
{
	if (m.client[i].s == NULL)
		return;
	if (politely && !wish[i].cgi) {
		sim_conn(i)->sends_abort = true;
		m.client[i].aborted = true;
	} else {
		sim_conn(i)->left = true;
	}
}

struct rows {
	unsigned client;
	int max;
};

/* As replay.c: a page of rows, or the word that they are not there. */
static void
fill_page(const void *page, int64_t cursor, struct chunk *chunk)
{
	const struct rows *rows = page;
	int max_rows = rows->max;
	unsigned i = rows->client;
	int64_t id;

	for (id = cursor + 1; max_rows-- > 0 && id <= m.head; id++)
		if (wants(i, id) && !chunk_add(chunk, id, frame_of(i, id), 0))
			break;
	if (max_rows < 0 || id > m.head)
		chunk_scanned(chunk, id - 1);
}

static void
page(int max_rows)
{
	struct stream *s = hub_first_paging(hub);
	struct rows rows = {.max = max_rows};
	unsigned i;

	if (s == NULL)
		return;
	for (i = 0; m.client[i].s != s; i++)
		continue;
	if (s->place.cursor < m.oldest - 1) {
		const struct frame_gap g = {.code = GAP_EXPIRED,
		    .requested = SPAN_NONE,
		    .position = m.oldest - 1,
		    .oldest = m.oldest,
		    .newest = m.head,
		    .lost = m.oldest - 1 - s->place.cursor};
		struct frame_gap told = g;
		char number[24];

		told.requested = span_of(number,
		    (size_t)snprintf(number, sizeof(number), "%lld",
			(long long)s->place.cursor));
		hub_give_gap(hub, s, &told);
		return;
	}
	rows.client = i;
	hub_send_page(hub, s, fill_page, &rows);
}

static void
trim(unsigned part)
{
	struct store_bounds b;

	m.oldest += (m.head + 1 - m.oldest) * (part % 8) / 7;
	b = bounds();
	hub_set_bounds(hub, &b);
}

/* Another log takes its place, once. */
static void
renew(void)
{
	struct store_bounds b;
	unsigned i;

	if (m.renewed)
		return;
	m.renewed = true;
	forget_frames();
	m.head = 0;
	m.oldest = 1;
	memset(m.last, 0, sizeof(m.last));
	for (i = 0; i < CLIENTS; i++)
		m.client[i].of_old_log = m.client[i].joined;
	b = bounds();
	hub_new_epoch(hub, &b, GAP_GENERATION);
}

static void
wait_ticks(unsigned n)
{
	while (n-- > 0) {
		sim_pass(TICK_US);
		turn();
	}
}

static void
step(unsigned op, unsigned arg)
{
	unsigned i = arg % CLIENTS;

	switch (op % 12) {
	case 0:
	case 1:
		give_events(arg % 8 + 1, arg > 191, op * 256 + arg);
		break;
	case 2:
		join(i, arg);
		break;
	case 3:
		sim_conn(i)->budget = (int64_t)(arg / CLIENTS) * (op / 12) *
		    (op > 127 ? 64 : 1);
		break;
	case 4:
		sim_conn(i)->budget = SIM_NO_LIMIT;
		break;
	case 5:
		page((int)(arg % 50) + 1);
		break;
	case 6:
		turn();
		break;
	case 7:
		wait_ticks(arg % 32 + 1);
		break;
	case 8:
		leave(i, arg > 127);
		break;
	case 9:
		trim(arg);
		break;
	case 10:
		if (arg < 32)
			renew();
		turn();
		break;
	case 11:
		if (arg < 8) {
			m.drained = true;
			(void)hub_drain(hub, CLIENTS);
		}
		turn();
		break;
	}
}

/* ---- from start to end ------------------------------------------------- */

static struct hub *
make_hub(size_t ring_bytes)
{
	const struct hub_options o = {.ring_bytes = ring_bytes,
	    .heartbeat_us = HEARTBEAT_US,
	    .retry_ms = 3000,
	    .timed = true,
	    .ended = on_ended};
	struct hub *made = NULL;

	MUST(hub_new(&made, loop, &o) == ST_OK);
	return made;
}

static void
prepare(void)
{
	size_t id;

	log_init("fuzz", LOG_TEXT, LOG_ERROR_);
	memset(data_bytes, 'd', sizeof(data_bytes));
	for (id = 0; id <= EVENTS_MAX; id++) {
		buf_init(&frames[0][id], 1 << 20);
		buf_init(&frames[1][id], 1 << 20);
	}
	MUST(loop_new(&loop) == ST_OK);
	/* One that events leave soon, one with room for several records. */
	hubs[0] = make_hub(64 * 1024);
	hubs[1] = make_hub(256 * 1024);
	hub = hubs[0];
}

/*
 * Two hubs live through all inputs: to make one costs more than most inputs.
 * Without streams, with an empty ring and a new log it is as new.
 */
static void
begin(unsigned options)
{
	struct store_bounds b;

	if (hub == NULL)
		prepare();
	hub_cut(hub);
	hub_reap(hub);
	MUST(hub_n_streams(hub) == 0 && subs_count(hub->subs) == 0);
	hub = hubs[options >> 2 & 1];
	memset(&m, 0, sizeof(m));
	forget_frames();
	m.oldest = 1;
	b = bounds();
	hub_reset(hub, &b, 0);
	hub->counters = (struct hub_counters){.out.timed = true};
	hub->random = 1;
	hub->o.max_lag_events = (options & 1) != 0 ? LAG_EVENTS : 0;
	hub->o.max_lag_us = (options & 2) != 0 ? 3 * HEARTBEAT_US : 0;
}

/* A client that is still connected has everything. */
static void
check_whole(unsigned i)
{
	const struct client *c = &m.client[i];

	if (c->s == NULL || m.drained)
		return;
	MUST(c->s->state == STREAM_LIVE && !c->of_old_log);
	MUST(next_wanted(i, c->at) == m.head + 1);
	MUST(sim_conn(i)->text.len == 0 && sim_conn(i)->rest == 0 &&
	    sim_conn(i)->n_head == 0);
}

/* With room for all, everybody gets all of it. */
static void
finish(void)
{
	int turns;
	unsigned i;

	for (i = 0; i < CLIENTS; i++)
		sim_conn(i)->budget = SIM_NO_LIMIT;
	for (turns = 0; turns < TURNS_MAX; turns++) {
		turn();
		page(100);
		judge_all();
		if (!hub_busy(hub) && hub_first_paging(hub) == NULL &&
		    turns > 2)
			break;
	}
	MUST(turns < TURNS_MAX);
	for (i = 0; i < CLIENTS; i++)
		check_whole(i);
	MUST(hub->counters.out.n_duplicates == 0);
	MUST(m.renewed || m.oldest > 1 ||
	    hub->counters.n_closed[STREAM_BROKEN] == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at;

	begin(size > 0 ? data[0] : 0);
	for (at = 1; at + 1 < size && at < 2 * STEPS_MAX; at += 2) {
		step(data[at], data[at + 1]);
		judge_all();
	}
	finish();
	return 0;
}
