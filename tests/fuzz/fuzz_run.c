/* SPDX-License-Identifier: MIT */
/*
 * Any order of events, short writes, joins, pages, leaves and drains: what
 * each stream gets, taken out of its FastCGI records, is the events that it
 * wants from its start on, each once, in order and whole.
 */
#include <string.h>

#include "../unit/rig/rig.h"
#include "fuzz.h"

#define STREAMS    5
#define EVENTS_MAX 600
#define CHANNELS   3

static const char *const channel_name[CHANNELS] = {"a", "b", "bc"};
static const struct rig_wish wish[STREAMS] = {
    {.channels = "a"},
    {.channels = "b*"},
    {.channels = "*", .envelope = true},
    {.channels = "a,bc", .cgi = true},
    {.channels = "*"},
};

struct model {
	struct rig rig;
	struct rig_client client[STREAMS];
	bool joined[STREAMS];
	bool drained;
	struct buf want[STREAMS];
	struct {
		uint8_t channel;
		uint32_t bytes;
	} event[EVENTS_MAX];       /* id - 1 */
	int64_t n_events, n_given; /* of the log; of those dispatched */
};

static char data_bytes[70000];
static struct model m; /* the run in it is large */

static struct store_event
event_of(int64_t id)
{
	return rig_event(id, channel_name[m.event[id - 1].channel],
	    span_of(data_bytes, m.event[id - 1].bytes));
}

static bool
wants(int stream, int64_t id)
{
	uint8_t channel = m.event[id - 1].channel;

	switch (stream) {
	case 0:
		return channel == 0;
	case 1:
		return channel != 0;
	case 3:
		return channel != 1;
	default:
		return true;
	}
}

static void
frame_of(struct buf *out, int stream, int64_t id)
{
	struct store_event e = event_of(id);
	enum status st = wish[stream].envelope ? frame_envelope(out, &e)
					       : frame_event(out, &e);

	MUST(st == ST_OK);
}

/* Everything that came is what was to come; it may be cut. */
static void
check(int i)
{
	struct span got = rig_text(&m.client[i]), want = buf_span(&m.want[i]);
	const char *close = NULL;

	if (m.drained) {
		/* The close stands where the stream had come to. */
		if (got.len > 7)
			close = memmem(got.p, got.len, "retry: ", 7);
		if (close == NULL)
			return;
		got.len = (size_t)(close - got.p);
	}
	MUST(span_starts(want, got));
}

static void
check_all(void)
{
	int i;

	for (i = 0; i < STREAMS; i++)
		if (m.joined[i])
			check(i);
}

static void
give_events(int n, unsigned seed)
{
	struct store_event e;
	bool go_on = true;
	int i;

	while (n-- > 0 && m.n_events < EVENTS_MAX) {
		int64_t id = ++m.n_events;

		seed = seed * 1103515245u + 12345u;
		m.event[id - 1].channel = (uint8_t)(seed >> 16) % CHANNELS;
		m.event[id - 1].bytes = (seed >> 8) % 41 != 0
		    ? (seed >> 20) % 300
		    : (seed >> 12) % sizeof(data_bytes);
		for (i = 0; i < STREAMS; i++)
			if (m.joined[i] && wants(i, id))
				frame_of(&m.want[i], i, id);
		if (!go_on)
			hub_dispatch(m.rig.hub);
		e = event_of(id);
		go_on = hub_take(m.rig.hub, &e);
	}
	hub_dispatch(m.rig.hub);
}

static void
join(int i, unsigned where)
{
	struct rig_wish w = wish[i];
	int64_t id;

	if (m.joined[i] || m.drained)
		return;
	w.cursor = m.n_events * (where % 8) / 7;
	rig_join(&m.rig, &m.client[i], &w);
	m.joined[i] = true;
	for (id = w.cursor + 1; id <= m.n_events; id++)
		if (wants(i, id))
			frame_of(&m.want[i], i, id);
}

/* A page of at most max_rows rows for the first that waits. */
static void
page(int max_rows)
{
	struct stream *s = hub_first_paging(m.rig.hub);
	struct run *run = hub_run(m.rig.hub);
	struct buf text;
	int64_t id;
	int i;

	if (s == NULL)
		return;
	for (i = 0; m.client[i].s != s; i++)
		;
	buf_init(&text, SIZE_MAX / 4);
	run_begin(run, &s->place,
	    s->rec_left > 0 ? s->rec_left : RUN_CONTENT_BYTES, s->rec_left > 0);
	for (id = s->place.cursor + 1; max_rows-- > 0 && id <= m.n_events;
	     id++) {
		if (!wants(i, id))
			continue;
		buf_clear(&text);
		frame_of(&text, i, id);
		if (!run_add(run, id, buf_span(&text), 0))
			break;
	}
	if (max_rows < 0 || id > m.n_events)
		run_scanned(run, id - 1);
	buf_fini(&text);
	hub_give_page(m.rig.hub, s, run);
}

static void
step(unsigned op, unsigned arg)
{
	int i = (int)(arg % STREAMS);

	switch (op % 8) {
	case 0:
	case 1:
		give_events((int)(arg % 64) + 1, op * 256 + arg);
		break;
	case 2:
		join(i, arg / STREAMS);
		break;
	case 3:
		if (m.joined[i])
			m.client[i].budget = (int64_t)(arg / STREAMS) *
			    (op / 8) * (op / 64 + 1);
		break;
	case 4:
		if (m.joined[i])
			m.client[i].budget = RIG_NO_LIMIT;
		break;
	case 5:
		page((int)(arg % 50) + 1);
		break;
	case 6:
		rig_turn(&m.rig);
		break;
	case 7:
		if (arg == 255 && op > 250) {
			m.drained = true;
			(void)hub_drain(m.rig.hub, STREAMS);
		}
		rig_turn(&m.rig);
		break;
	}
}

/* With room for all, everybody gets all of it. */
static void
finish(void)
{
	int i, turns;

	for (i = 0; i < STREAMS; i++)
		if (m.joined[i])
			m.client[i].budget = RIG_NO_LIMIT;
	for (turns = 0; turns < 20000; turns++) {
		rig_turn(&m.rig);
		page(100);
		for (i = 0; i < STREAMS; i++)
			if (m.joined[i])
				rig_read(&m.client[i]);
		if (!hub_busy(m.rig.hub) &&
		    hub_first_paging(m.rig.hub) == NULL && turns > 2)
			break;
	}
	MUST(turns < 20000);
	check_all();
	if (m.drained)
		return;
	for (i = 0; i < STREAMS; i++) {
		if (!m.joined[i])
			continue;
		MUST(m.client[i].s != NULL);
		MUST(m.client[i].s->state == STREAM_LIVE);
		MUST(m.client[i].left == 0 && m.client[i].n_head == 0);
		MUST(rig_text(&m.client[i]).len == m.want[i].len);
	}
	MUST(hub_counters(m.rig.hub)->n_closed[STREAM_BROKEN] == 0);
	MUST(hub_counters(m.rig.hub)->out.n_duplicates == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hub_options o = {.ring_bytes = 65536};
	struct store_bounds b = {.oldest = 1, .generation = "g"};
	size_t at;
	int i;

	memset(data_bytes, 'd', sizeof(data_bytes));
	memset(&m, 0, sizeof(m));
	for (i = 0; i < STREAMS; i++)
		buf_init(&m.want[i], SIZE_MAX / 4);
	rig_init(&m.rig, &o);
	hub_reset(m.rig.hub, &b, 0);
	for (at = 0; at + 1 < size && at < 400; at += 2) {
		step(data[at], data[at + 1]);
		check_all();
	}
	finish();
	rig_fini(&m.rig);
	for (i = 0; i < STREAMS; i++)
		buf_fini(&m.want[i]);
	return 0;
}
