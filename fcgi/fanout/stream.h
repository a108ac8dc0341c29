/* SPDX-License-Identifier: MIT */
/*
 * A stream: one client's connection, what it wants, and its place in the log.
 * There is no queue of messages.  What a client still has to get follows from
 * its place, and a client that is a million events behind costs as much
 * memory as one that is up to date.
 *
 * The life of a stream
 * --------------------
 * It is that of a PostgreSQL walsender, which is in catchup or streaming.
 * Catchup is three states here, by what a stream waits for:
 *
 *   +------------ falls behind ------------+
 *   |                                      v
 * LIVE --EAGAIN--> BLOCKED --EPOLLOUT--> READY --older than the ring--> PAGING
 *   ^                                    |   ^                            |
 *   +--- has all, and nothing half out --+   +--- a page, or a gap told --+
 *
 * A stream begins in READY.  A write that is cut short makes it BLOCKED in any
 * state, and each may end in DEAD.
 *
 *	READY    behind, and there may be room: gets a part each turn, out of
 *	         the ring (hub_serve).  Every stream begins here, wherever its
 *	         client wants to begin; most leave for LIVE in the first turn.
 *	PAGING   behind what the ring has: waits in the queue of its address
 *	         for a page of the store (replay_turn).
 *	BLOCKED  its last write was cut short: waits until epoll says that there
 *	         is room.  A stream that stays here for long is closed,
 *	         if max_lag_s or max_lag_events says so; it holds up nobody.
 *	LIVE     has been sent all that it wants up to the hub's head.  It has
 *	         no place of its own, shares the head with all others, and gets
 *	         new events in the chunk that is made for its subscription.
 *	DEAD     its descriptor is closed.  It is freed at the end of the turn
 *	         and not before, so that nobody holds a pointer to nothing.
 *
 * A live stream falls behind without a write when the hub cannot give it the
 * next event in one chunk: the event is too large for that, it has left the
 * ring already, retention has passed it, or the log is another one.  It then
 * gets a place where it stood, and goes the way of all that are behind.
 *
 * Why each event comes once
 * -------------------------
 * 1. An event never changes, and its frame follows from its row alone.  So
 *    the text from a place on is the same whenever it is put together, and
 *    whether out of the ring or out of the store.
 * 2. A place moves past bytes that write() has taken and past events that the
 *    stream does not want, and by nothing else (advance in stream.c).
 *    A stream that stops being live is given the place where it stands;
 *    stream_move is the exception, and its client is told by control.gap what
 *    it did not get.
 * 3. Each write begins at the place.  So all that was ever written is one
 *    text without a seam, wherever the kernel cut it.
 * 4. A stream becomes live only with nothing half out and its place at the
 *    hub's head, between two batches: the next batch begins right behind it.
 *    A live one that is cut gets the place of the cut.  Nothing is between.
 * 5. A connection that breaks ends with an event that its client has as a
 *    whole or not at all; the browser knows the last whole one's id and comes
 *    back with it, which is a place again.
 *
 * What was sent is known twice: the place says what comes next, and sent_id,
 * which takes no part in that, what went out.  So a place that stood wrong
 * shows as a frame that is sent again, and is counted.
 */
#ifndef WALCAST_STREAM_H
#define WALCAST_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "chunk.h"
#include "frame.h"
#include "hist.h"
#include "loop.h"
#include "span.h"
#include "status.h"
#include "subs.h"

struct pass; /* of who opens streams; the fan-out only keeps it */

enum stream_state {
	STREAM_LIVE,    /* in sub->live */
	STREAM_READY,   /* in hub->ready */
	STREAM_BLOCKED, /* in hub->blocked; EPOLLOUT is asked for */
	STREAM_PAGING,  /* in hub->paging[queue] */
	STREAM_DEAD     /* in hub->dead */
};

/*
 * Why a stream ended: for one of the reasons that control.close tells, which
 * come first and so have the same numbers in both enums, or without a word:
 * the client left, or it could not go on inside a record.
 */
#define STREAM_END_LIST(X)                                                     \
	FRAME_REASONS(X)                                                       \
	X(LEFT, "left")                                                        \
	X(BROKEN, "broken")

enum stream_end {
#define X(member, word) STREAM_##member,
	STREAM_END_LIST(X)
#undef X
	    STREAM_ENDS
};

/*
 * Control text that the socket has not taken yet.  Unlike events it cannot be
 * made again: it tells of the moment.
 */
struct stream_pend {
	uint32_t len, at; /* bytes, and how many of them are out */
	char bytes[];
};

struct stream {
	struct watch watch;
	void *hub; /* for callbacks: the struct hub it belongs to */
	struct sub *sub;
	TAILQ_ENTRY(stream) link;  /* in the list of its state */
	TAILQ_ENTRY(stream) wheel; /* in the list of its next check */
	struct chunk_place place;  /* meaningless while STREAM_LIVE */
	struct stream_pend *pend;  /* NULL: none */
	uint32_t rec_left;         /* content that the record under way lacks */
	uint16_t request_id;       /* 0: plain CGI, no records */
	uint8_t head_left;         /* bytes of its header that are not out */
	uint8_t state;             /* enum stream_state */
	uint8_t wheel_slot;
	uint8_t queue;   /* less than HUB_QUEUES: of its address */
	uint8_t front;   /* enum front */
	uint8_t end_why; /* enum frame_reason: for which end_us ends it */
	uint8_t ending;  /* closed when pend is out: 1 + why; 0: goes on */
	bool wants_out;  /* EPOLLOUT is asked for */
	bool told_lagging;
	bool heartbeat_events;
	uint32_t epoch; /* which log its place is in: see hub.h */
	int32_t slot;   /* of the front end's slots; -1: none */
	int32_t address_slot;
	int32_t share_slot; /* among those of its address at this front end */
	uint32_t address_key;
	uint32_t share_key;
	uint32_t pool_key;
	uint32_t opened_ms; /* monotonic; wraps around */
	uint64_t id;        /* what X-SSE-Stream says */
	int64_t sent_id;    /* the highest of which a whole frame was sent */
	int64_t born_id;    /* events above are newer than the stream */
	uint64_t last_write_us;
	uint64_t behind_since_us; /* 0: is up to date */
	uint64_t end_us;          /* max_age, or cut when ending; 0: none */
	struct pass *pass;        /* who reads it; NULL: nobody in particular */
	uint32_t edition;         /* of the rules that it was last judged by */
};

struct stream_counters {
	uint64_t n_writes, n_bytes, n_short_writes;
	uint64_t n_events;     /* frames out as a whole */
	uint64_t n_duplicates; /* of those, the ones that were out before */
	bool timed;            /* fill the histogram */
	bool keep_now;         /* read the clock once and ... */
	int64_t now_us;        /* ... use that until this is 0 again */
	struct hist delivery;  /* of events newer than their stream:
				  microseconds from the commit to now */
};

/*
 * No record and no event is half out, and no control text waits.  Only here
 * may something else than the rest of it be sent.
 */
static inline bool
stream_at_border(const struct stream *s)
{
	return s->rec_left == 0 && s->head_left == 0 && s->pend == NULL &&
	    s->place.off == 0;
}

/*
 * Puts a stream elsewhere: behind a gap, or into another log.  Its client is
 * told.  Events of the old place do not count as duplicates of the new ones.
 */
void stream_move(struct stream *s, int64_t cursor);

/*
 * Sends a chunk in one write and moves the stream's place on by what the
 * kernel took.  The chunk was begun at the stream's place; if the record under
 * way lacks something (rec_left > 0), with exactly this as its limit.
 *
 * The chunk has room for a header before its content, so a new record goes out
 * with it in the same write.  chunk.h has an example of one that was cut.
 *
 * Returns  ST_OK     all of it is out; the record may still lack something,
 *                    when the chunk had less than was promised
 *          ST_AGAIN  the socket is full; the place is that of the cut
 *          ST_END    the peer is gone
 */
MUST_USE enum status stream_send_chunk(struct stream *s, struct chunk *r,
    struct stream_counters *c);

/*
 * Sends control text as a record of its own; what the socket does not take
 * waits in `pend`.  Only at a border (stream_at_border), or while `pend` is
 * all that waits.
 *
 * Returns  ST_OK, ST_AGAIN (some of it waits), ST_END, ST_NOMEM
 */
MUST_USE enum status stream_send_text(struct stream *s, struct span text,
    struct stream_counters *c);

/* The same without a record around it, for what ends a response. */
MUST_USE enum status stream_send_raw(struct stream *s, struct span bytes,
    struct stream_counters *c);

/* Sends what waits.  ST_OK when nothing is left; ST_AGAIN, ST_END. */
MUST_USE enum status stream_flush(struct stream *s, struct stream_counters *c);

#endif
