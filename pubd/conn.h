/* SPDX-License-Identifier: MIT */
/*
 * Publishers' connections: requests in, answers out, each bounded by itself and
 * all together.  A codec knows what their bytes look like, and the functions in
 * struct conns what a request means.  A "line" is a unit of the codec
 * (codec.h).
 *
 * A connection is not read while it does not take its answers and while it has
 * whole lines that wait.  No bound stops all reading: the more lines wait the
 * less is read at once, and when unfinished lines take up too much, the oldest
 * one of the user who has most is closed.  So the end of a connection is always
 * noticed.
 */
#ifndef WALCAST_CONN_H
#define WALCAST_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "codec.h"
#include "identities.h"
#include "log.h"
#include "loop.h"
#include "peers.h"
#include "span.h"
#include "status.h"

struct conn;
struct conns;
struct watcher;

TAILQ_HEAD(conn_list, conn);

/*
 * What to do with a line.
 * Returns  ST_OK    it is taken
 *          ST_FULL  not now: it is offered again in the next round
 *          else     the connection cannot go on
 */
typedef enum status conn_line_fn(void *arg, struct conn *c, struct span line);

/*
 * A line longer than its bound (ST_TOOLARGE), or given up for want of room
 * (ST_BUSY): answer it.  Returns as above.
 */
typedef enum status conn_refuse_fn(void *arg, struct conn *c, enum status why);

struct conn {
	struct watch watch; /* fd is -1 while the loop is not asked */
	int fd;             /* -1 when closed */
	uint32_t events;    /* what the loop was asked for */
	struct conns *set;
	TAILQ_ENTRY(conn) all;
	TAILQ_ENTRY(conn) held;
	TAILQ_ENTRY(conn) flush;
	struct buf in;       /* the unfinished line, or lines that wait */
	struct buf out;      /* answers that the peer has not taken */
	unsigned full_round; /* its next line found no room in this round */
	const struct codec *codec;
	struct codec_place framing; /* of `in` */
	size_t n_waiting;           /* requests of this one in the batch */
	uint64_t moved_us;          /* when bytes last went in or out */
	uint64_t read_us;           /* when they last went in */
	uint64_t number;            /* counts connections from 1, for the log */
	int64_t peer_pid;           /* of who connected; 0: not known */
	int64_t peer_uid;           /* -1: not known */
	struct identity *identity;  /* of who connected: the uid and groups */
	bool is_own;                /* our pulse: neither counted nor logged */
	bool is_held;               /* in the held list */
	bool is_flush;              /* in the flush list */
	bool eof;                   /* nothing more comes in */
	bool cut;                   /* because we stop, not the peer */
	bool lingers;               /* has its answers; is shown the end */
	size_t left;                /* bytes still to be read, when we stop */
	bool deaf;                  /* the peer takes no more answers */
	bool dead;                  /* reaped at the end of the turn */
	struct watcher *watcher;    /* watchers.c; NULL for a mere publisher */
	struct peer_place place;    /* among those of its user */
};

/*
 * Why a connection was closed that had done nothing wrong: X(member, words for
 * the log).  It is counted in METRIC_CLOSED_ and the member's name, so that one
 * without a metric does not build.
 */
#define CONN_SPARED(X)                                                         \
	X(ROOM, "unfinished lines are too many")                               \
	X(IDLE, "idle")                                                        \
	X(FDS, "descriptors get short")

enum conn_spared {
#define X(member, words) CONN_##member,
	CONN_SPARED(X)
#undef X
	    CONN_N_SPARED
};

struct conns {
	struct loop *loop;
	struct peers peers;
	struct identities identities;            /* of all that are open */
	struct conn_list all, held, flush, dead; /* held: cannot go on now */
	conn_line_fn *line;
	conn_refuse_fn *refuse;
	void (*gone)(void *arg, struct conn *c); /* before it is freed */
	void *arg;
	size_t max_line_bytes;
	size_t max_conns;     /* for want of descriptors; 0: no bound */
	uint64_t max_idle_us; /* see peers_idle; 0: no bound */
	uint64_t n_spared[CONN_N_SPARED];
	uint64_t relieved_us; /* when answers were last looked through */
	struct log_gate gate;
	uint64_t n_taken;   /* ever */
	size_t n;           /* open ones */
	size_t n_lingering; /* of them, with nothing owed any more */
	size_t n_held;      /* in the held list */
	size_t in_bytes;    /* of all `in` */
	size_t out_bytes;   /* of all `out` */
	unsigned round;   /* the caller counts it up when there is room again */
	size_t read_left; /* bytes to be read at once in this turn */
	int64_t turn_left; /* of the work that this turn may cost */
	bool put_off;      /* a long line waits since the last turn */
	int64_t cost;      /* of the line that was taken last, see CONN_COST */
	bool stopping;     /* an unfinished last line is no line */
};

/*
 * What the work for a line costs, in about microseconds; the function that
 * takes the line sets `cost` when it is more than 1.  An event is cheap: the
 * more of them share a commit the better.
 */
#define CONN_COST_ANSWER 24
#define CONN_COST_REPORT 128

void conns_init(struct conns *set, struct loop *l);

/* Closes and frees all of them. */
void conns_fini(struct conns *set);

/*
 * Takes a connected socket, on which this codec is spoken; closes it when that
 * fails.  With more of them than max_conns another one is closed, see
 * peers_spare.
 */
MUST_USE enum status conns_take_fd(struct conns *set, int fd,
    const struct codec *codec);

/*
 * Takes lines that were read, a bounded amount of work.  Users take turns, and
 * so do the connections of each (peers.h).
 */
void conns_take_lines(struct conns *set);

/*
 * Offers lines again that could not be taken, if they can be now.  Called once
 * a turn, after the answers.  True: there are lines to be taken, do not wait
 * for others.
 */
bool conns_resume(struct conns *set);

/* Writes as much as it can of the new answers. */
void conns_flush(struct conns *set);

/* Frees what died during the turn and is owed no answer any more. */
void conns_reap(struct conns *set);

/*
 * When a bound is crossed, closes connections that do not finish their line or
 * do not take their answers: a few each call, those that have stood still
 * longest first.  Also closes those that are idle for too long.
 */
void conns_relieve(struct conns *set, uint64_t now_us);

/*
 * The end: what lies in the sockets now is read and answered, no more.  Then
 * each connection lingers until its peer has seen the end of its answers.
 */
void conns_stop(struct conns *set);

/* Where to append an answer, and then: that something was appended. */
struct buf *conn_out(struct conn *c);
void conn_wrote(struct conn *c, size_t before_bytes);

/* Do bytes still wait that its socket has refused? */
bool conn_backlogged(const struct conn *c);

/* It has published (PEER_KNOWN), or watches: it is given up later. */
void conn_stand(struct conn *c, enum peer_standing standing);

/* Marks it dead and closes it; its memory stays until it is reaped. */
void conn_kill(struct conn *c);

#endif
