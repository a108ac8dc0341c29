/* SPDX-License-Identifier: MIT */
/*
 * The fan-out: takes events in the order of their ids, keeps the newest in the
 * ring, and sends each stream what it wants.  Nothing here blocks.
 *
 * Invariants: a live stream has been sent everything it wants up to the
 * hub's head; any other stream has its own place.  Being behind is nothing
 * special: such a stream reads from its place, out of the ring where the ring
 * reaches, out of pages of the store where it does not (replay.h).
 *
 * An event on its way, with 10,000 streams of 3 subscriptions:
 *
 *	hub_take      it is encoded into the ring, once.  The index finds the 2
 *	              subscriptions that want it, and notes a match for each.
 *	              This is done for each row of the tail's page.
 *	hub_dispatch  for each of the 2: the frames of all its matches are put
 *	              together as one chunk, once, and this is written to each
 *	              of its live streams, with one write() for a stream.
 *	              Whose socket was full has a place of its own from now on.
 *	hub_serve     later in the same turn: those that are not live.  Each
 *	              gets chunks made for itself, from its place.
 *
 * So an event costs one encoding, one copy for each subscription that wants
 * it, and at most one write for each of their streams; other streams cost
 * nothing.
 *
 * What a stream is, its states, and why each event reaches it once: stream.h.
 * How a write goes on that was cut: chunk.h.
 *
 * An epoch is one life of one log.  When another log takes its place, or the
 * log goes back (a backup was restored), the epoch grows; every stream of an
 * older one is told by control.gap before it goes on.  Ids of two epochs may
 * be equal and mean different events, so a place is never compared with the
 * head of another epoch.
 */
#ifndef WALCAST_HUB_H
#define WALCAST_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "chunk.h"
#include "commit_clock.h"
#include "frame.h"
#include "frontend.h"
#include "loop.h"
#include "ring.h"
#include "status.h"
#include "store.h"
#include "stream.h"
#include "subs.h"
#include "traced.h"

struct hub;

/*
 * Streams that wait for the store stand in so many queues, each in that of its
 * client's address, and the queues take turns (stochastic fairness queueing,
 * McKenney 1990): a hundred replays of one address cost the others what one
 * does.
 */
#define HUB_QUEUES 64

struct hub_options {
	size_t ring_bytes;
	uint64_t heartbeat_us;
	int64_t retry_ms;
	uint64_t max_lag_us;    /* 0: off */
	int64_t max_lag_events; /* 0: off */
	bool timed;             /* measure how long events take */
	/* Called once when a stream ends, for its slots. */
	void (*ended)(void *arg, const struct stream *s);
	/*
	 * Called when a stream's end_us has come.  True: it goes on, and end_us
	 * was moved; false, or NULL: it ends, for end_why.
	 */
	bool (*due)(void *arg, struct stream *s, uint64_t now_us);
	/*
	 * Called for each revocation in the log, in its order: what was before
	 * it is dispatched, what comes after it is not.  NULL: some may have
	 * gone by unseen (retention passed us, the log is another one): look
	 * each stream up.
	 */
	void (*revoked)(void *arg, const struct event *e);
	/* Called for each event with a trace when it was dispatched; or NULL.
	 */
	void (*dispatched)(void *arg, const struct traced *t, uint64_t end_us);
	void *arg;
};

struct hub_counters {
	uint64_t n_opened, n_closed[STREAM_ENDS];
	uint64_t n_front_opened[FRONTS], n_front_closed[FRONTS];
	uint64_t n_events_in;
	uint64_t n_heartbeats, n_heartbeats_failed;
	uint64_t n_gaps[GAP_CODES];
	uint64_t n_replayed; /* events out of the store */
	struct stream_counters out;
};

/* How things stand now. */
struct hub_survey {
	size_t n_streams;
	size_t n_lagging; /* streams that lack events */
	int64_t max_lag;  /* ids by which the furthest one is behind */
	size_t n_replaying;
	int64_t replay_depth; /* the same of those that read the store */
	size_t pending_bytes; /* control text that waits */
	size_t ring_bytes, ring_events;
	int64_t ring_oldest; /* the oldest id that the ring can hold */
	uint64_t n_untraced; /* since the start: traced too many at once */
};

/* Where the newest events of a subscription begin, as far as the ring tells. */
struct hub_newest {
	int n_found;
	int64_t position; /* before the oldest of them; the head: none found */
	int64_t older;    /* those at or below are to be looked for in the
			     store; 0: enough was looked at */
};

MUST_USE enum status hub_new(struct hub **out, struct loop *l,
    const struct hub_options *o);
void hub_free(struct hub **h);

/* ---- the log's side ------------------------------------------------------ */

/* The log is (again) this one, and streams are live from `head` on. */
void hub_reset(struct hub *h, const struct store_bounds *b, int64_t head);

/*
 * Another log has taken its place, or it has gone back: every stream is told
 * and goes on from the oldest event.
 */
void hub_new_epoch(struct hub *h, const struct store_bounds *b,
    enum frame_gap_code code);

/*
 * The log has lost events that live streams did not get: they fall behind at
 * the old head, and as the ring begins at `base` now, the replay finds the gap
 * and tells them.  The next event has an id above `base`.
 */
void hub_skip(struct hub *h, int64_t base);

/*
 * pubd has said that the log's head is `head`, and that what was new in it was
 * committed at at_us (monotonic; NULL: nobody knows).  For delivery times
 * only: what the log has is read from the log.
 */
void hub_woken(struct hub *h, int64_t head, const int64_t *at_us);

/* When an event was committed, monotonic microseconds; 0 unless timed. */
int64_t hub_commit_us(struct hub *h, const struct event *e);

/* Tell of events with a trace?  Not from the start. */
void hub_set_tracing(struct hub *h, bool on);

/*
 * Takes the next event, to be sent by the next hub_dispatch.  False: call it
 * before giving more, or events may leave the ring before they were sent.
 * (They are not lost then: their streams fall behind.)
 */
bool hub_take(struct hub *h, const struct event *e);

/* What is known of the log's ends, for control frames. */
void hub_set_bounds(struct hub *h, const struct store_bounds *b);
const struct store_bounds *hub_bounds(const struct hub *h);
int64_t hub_head(const struct hub *h);

/*
 * Sends what was taken to all live streams that want it.  Must have been
 * called before hub_serve: a stream is made live at the hub's head, which is
 * where the last dispatch ended.
 */
void hub_dispatch(struct hub *h);

/* ---- the streams' side --------------------------------------------------- */

/*
 * The subscription of this spec, and one reference.  A stream that was added
 * gives its own back when it ends.
 * Returns  ST_OK, ST_NOMEM
 */
MUST_USE enum status hub_subscribe(struct hub *h, const struct sub_spec *spec,
    struct sub **out);
void hub_unsubscribe(struct hub *h, struct sub **sub);

/*
 * Sends a stream's first bytes and serves it from now on: fd, sub and place
 * are set, the place in the log as it is now.
 *
 * Returns  ST_OK
 *          ST_END, ST_NOMEM  the caller keeps it
 */
MUST_USE enum status hub_open(struct hub *h, struct stream *s,
    struct span first);

/* The same for a stream whose first bytes are out or pending, epoch set. */
MUST_USE enum status hub_add(struct hub *h, struct stream *s);

/* A client was told of a gap before it became a stream of the hub. */
void hub_count_gap(struct hub *h, enum frame_gap_code code);

/* Serves streams that are behind and have room, each a bounded part. */
void hub_serve(struct hub *h);

/* Is there work for hub_serve? */
bool hub_busy(const struct hub *h);

/* The first stream that waits for a page; NULL: none. */
struct stream *hub_first_paging(const struct hub *h);

/*
 * Sends a stream that waits for a page a part of one.
 *
 * fill   adds what follows `cursor` to the chunk, by chunk_add and
 * chunk_scanned
 */
void hub_send_page(struct hub *h, struct stream *s,
    void (*fill)(const void *page, int64_t cursor, struct chunk *r),
    const void *page);

/* Puts it last in its queue, and the other queues before it. */
void hub_later(struct hub *h, struct stream *s);

/* Tells a stream of a gap and moves it to g->position. */
void hub_give_gap(struct hub *h, struct stream *s, const struct frame_gap *g);

/*
 * It cannot be continued where it stands, half an event being out that is not
 * there any more: cut it.  Its client comes back with the last whole one's id.
 */
void hub_break(struct hub *h, struct stream *s);

/* Ends streams with control.close; at most max_streams of them. */
size_t hub_drain(struct hub *h, size_t max_streams);

/*
 * Ends those of all streams for which `ends` is true, with control.close;
 * returns how many.  `ends` is called once for each that is not ending.
 */
size_t hub_end_where(struct hub *h, enum frame_reason why,
    bool (*ends)(void *arg, struct stream *s), void *arg);

/* Ends all that are left without a word. */
void hub_cut(struct hub *h);

/* Frees streams that ended; after loop_turn(). */
void hub_reap(struct hub *h);

/* ---- what others may know ------------------------------------------------ */

size_t hub_n_streams(const struct hub *h);
uint32_t hub_epoch(const struct hub *h);

/* Looks for the newest n events that `sub` wants among those in the ring. */
void hub_find_newest(const struct hub *h, const struct sub *sub, int n,
    struct hub_newest *out);

/* What was counted since the start. */
void hub_count(const struct hub *h, struct hub_counters *out);

/* Looks at the ring, and at every stream that is not up to date. */
void hub_survey(const struct hub *h, struct hub_survey *out);

#endif
