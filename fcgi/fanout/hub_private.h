/* SPDX-License-Identifier: MIT */
/*
 * What the three parts of the hub share.  Only they and the tests include this;
 * others see hub.h.
 *
 *   hub.c        takes events, sends them to the streams that are live
 *   catchup.c    serves the streams that are behind
 *   lifecycle.c  the lists, heartbeats and limits of age and lag, the end
 *
 * Invariants, between calls:
 * - a stream is in one list, that of its state; unless it is dead it is in
 *   one slot of the wheel, too, and counted in n_streams;
 * - sub->n_live is the length of sub->live;
 * - a live stream has nothing pending, has been sent all that it wants up to
 *   `head`, and its own place means nothing;
 * - only hub_move and hub_fall_behind change a stream's state once it has
 *   joined; only hub_reap frees, so a stream that ended stays valid for the
 *   rest of the turn.
 */
#ifndef WALCAST_HUB_PRIVATE_H
#define WALCAST_HUB_PRIVATE_H

#include "hub.h"

#include "buf.h"

#define WHEEL_SLOTS 64

struct match;
STAILQ_HEAD(sub_list, sub);

struct hub {
	struct loop *loop;
	struct hub_options o;
	uint64_t random;
	struct hub_counters counters;
	struct buf text; /* control text that is being made */
	struct chunk chunk;

	/* the log */
	struct ring *ring;
	struct subs *subs;
	struct store_bounds bounds;
	int64_t head; /* live streams have everything up to here; behind
			 the ring's head only between take and dispatch */
	uint32_t epoch;
	enum frame_gap_code epoch_code; /* how this epoch began */
	struct commit_clock commit_clock;
	int64_t wall_us;     /* Unix time less monotonic time, */
	uint64_t wall_at_us; /* as it was in this turn */

	/* what was taken since the last dispatch: each dirty subscription
	 * has a list of its matches, chained through `match` */
	struct sub_list dirty;
	struct match *match;
	uint32_t n_matches;
	size_t taken_bytes;
	bool tracing;
	size_t n_wanting; /* live streams that want the event at hand */
	struct traced_set *traced; /* NULL: nobody asks */

	struct buf revocation; /* taken, to be told by the next dispatch */
	int64_t revocation_id; /* 0: none */

	/* the streams: those that are live stand in their subscriptions */
	struct stream_list ready, blocked, dead;
	struct stream_list paging[HUB_QUEUES];
	unsigned paging_at; /* the queue whose turn it is */
	size_t n_streams;
	uint64_t n_scanned; /* entries looked at for streams behind */
	uint64_t look_us;   /* when to look for streams that lag */
	struct stream_list wheel[WHEEL_SLOTS];
	struct timer tick;
	uint64_t tick_us;
	unsigned wheel_at;
};

static inline struct span
hub_text_of(const struct sub *sub, const struct ring_entry *e)
{
	return sub->envelope ? e->envelope : e->frame;
}

/* ---- lifecycle.c ------------------------------------------------------- */

/* Empty lists, and the wheel begins to turn.  Returns ST_OK or ST_NOMEM */
MUST_USE enum status hub_begin_life(struct hub *h);

/* Ends and frees all streams; no more ticks. */
void hub_end_life(struct hub *h);

void hub_move(struct hub *h, struct stream *s, enum stream_state state);

/* A live stream gets a place of its own: right behind `cursor`. */
void hub_fall_behind(struct hub *h, struct stream *s, int64_t cursor,
    enum stream_state state);

/* All live streams, whatever their subscription, at the head. */
void hub_all_fall_behind(struct hub *h);

/* The client left. */
void hub_end_left(struct hub *h, struct stream *s);

/* Asks for EPOLLOUT, or stops asking. */
void hub_ask_out(struct hub *h, struct stream *s, bool want);

/*
 * Goes on after a write that came to `st`: false when the stream is blocked
 * or gone.
 */
bool hub_wrote(struct hub *h, struct stream *s, enum status st);

/* ---- catchup.c --------------------------------------------------------- */

/* Logs each stream that has been behind for long, once; not at every call. */
void hub_tell_lagging(struct hub *h, uint64_t now_us);

#endif
