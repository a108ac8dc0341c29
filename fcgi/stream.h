/* SPDX-License-Identifier: MIT */
/*
 * A stream: one client's connection and its cursor on the log.  There is no
 * queue: what a stream still has to get follows from its place, and a write
 * that was cut short is continued by putting the same text together again.
 *
 * What was sent is known twice: the place says what comes next, and sent_id,
 * which takes no part in that, what went out.  So a place that stood wrong
 * shows as a frame that is sent again.
 */
#ifndef WALCAST_STREAM_H
#define WALCAST_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "frame.h"
#include "hist.h"
#include "loop.h"
#include "run.h"
#include "span.h"
#include "status.h"
#include "subs.h"

enum stream_state {
	STREAM_LIVE,    /* has everything up to the hub's head; in sub->live */
	STREAM_READY,   /* behind; has room; waits for its turn */
	STREAM_BLOCKED, /* its socket is full: EPOLLOUT will tell */
	STREAM_PAGING,  /* behind the ring: waits for a page of the store */
	STREAM_DEAD     /* closed; freed at the end of the turn */
};

/* Why a stream ended: an enum frame_reason, or without a word. */
enum stream_end {
	STREAM_LEFT = CLOSE_REVOKED + 1, /* the client left */
	STREAM_BROKEN, /* it could not go on inside a record */
	STREAM_ENDS
};

/* Control text that the socket has not taken yet. */
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
	struct run_place place;    /* meaningless while STREAM_LIVE */
	struct stream_pend *pend;  /* NULL: none */
	uint32_t rec_left;         /* content that the record under way lacks */
	uint16_t request_id;       /* 0: plain CGI, no records */
	uint8_t head_left;         /* bytes of its header that are not out */
	uint8_t state;             /* enum stream_state */
	uint8_t wheel_slot;
	uint8_t queue;  /* less than HUB_QUEUES: of its address */
	uint8_t front;  /* enum front */
	uint8_t ending; /* closed when pend is out: 1 + why; 0: goes on */
	bool wants_out; /* EPOLLOUT is asked for */
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

/* Nothing of a record is under way and no control text waits. */
static inline bool
stream_at_border(const struct stream *s)
{
	return s->rec_left == 0 && s->head_left == 0 && s->pend == NULL &&
	    s->place.off == 0;
}

/*
 * Moves a stream to where no event of this log that was sent matters: another
 * log, or back in it, and it was told.
 */
void stream_move(struct stream *s, int64_t cursor);

/*
 * Sends a run, or what remains of the record under way, and moves the
 * stream's place on by what the kernel took.
 *
 * Returns  ST_OK     all of it is out
 *          ST_AGAIN  the socket is full
 *          ST_END    the peer is gone
 */
MUST_USE enum status stream_send_run(struct stream *s, struct run *r,
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
