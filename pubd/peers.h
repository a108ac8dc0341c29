/* SPDX-License-Identifier: MIT */
/*
 * Connections by who made them: the user at the other end, as the kernel knows
 * it.  Chooses the connection to close when something runs short, so that only
 * those who take much suffer: of the user who holds most, the one that has
 * stood still longest.  Pure: closes nothing.
 *
 * A connection has a standing.  A new one is given up first, then one that
 * watches, last one that has published or reported.
 */
#ifndef WALCAST_PEERS_H
#define WALCAST_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "status.h"

struct peer_place;
struct peer; /* one user; opaque: peers.c */

TAILQ_HEAD(peer_places, peer_place);
TAILQ_HEAD(peer_list, peer);

enum peer_standing {
	PEER_NEW,     /* has not published */
	PEER_WATCHES, /* waits to be told of commits */
	PEER_KNOWN,   /* has published, or reports */
	PEER_N_STANDINGS
};

#define PEERS_BUCKETS 64

struct peers {
	struct peer_list bucket[PEERS_BUCKETS];
	struct peer_list turns; /* users who have lines that wait */
	size_t n;               /* users */
	size_t partial_bytes;   /* of all lines that have no end yet */
};

/* Where a connection stands; a member of its object. */
struct peer_place {
	struct peer *peer;
	TAILQ_ENTRY(peer_place) silent;  /* by standing, longest silent first */
	TAILQ_ENTRY(peer_place) partial; /* by the begin of its line */
	enum peer_standing standing;
	const size_t *owed;
	bool listens; /* see peers_listen */
	TAILQ_ENTRY(peer_place) turn;
	bool is_queued, is_fresh; /* waits for its turn; just began to */
	int64_t credit;           /* of this turn; below 0: has had more */
	bool is_partial;
	size_t partial_bytes; /* of the line that has no end yet */
	uint64_t line_us;     /* when that one began */
	uint64_t heard_us;    /* when something last came in */
};

void peers_init(struct peers *ps);

/*
 * A connection of this user has come.
 *
 * owed     how many answers it waits for
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status peers_join(struct peers *ps, struct peer_place *at,
    int64_t uid, const size_t *owed, uint64_t now_us);
/* It goes.  Once more is no error. */
void peers_leave(struct peers *ps, struct peer_place *at);

/* Something came in. */
void peers_heard(struct peer_place *at, uint64_t now_us);

/* Its standing grows; it never falls. */
void peers_stand(struct peer_place *at, enum peer_standing standing);

/*
 * It watches without being a process of ours, of which a user has this many
 * at most; until it leaves.  Once more is no error.
 * Returns  ST_OK or ST_FULL
 */
MUST_USE enum status peers_listen(struct peer_place *at, size_t max);

/* How many bytes of an unfinished line there are; 0: none. */
void peers_partial(struct peers *ps, struct peer_place *at, size_t n_bytes,
    uint64_t now_us);

/* ---- turns -------------------------------------------------------------- */

/*
 * Deficit round robin, over users and within each over its connections, so that
 * many lines delay only those who sent them.  A connection whose lines had all
 * been taken comes before those of the same user that always have some.
 */

/* It has lines to be taken; once more is no error. */
void peers_queue(struct peers *ps, struct peer_place *at);
/* It has none, or they can not be taken now. */
void peers_unqueue(struct peers *ps, struct peer_place *at);

/*
 * Whose lines to take now, while its credit lasts (credit > 0); then
 * peers_unqueue it, or peers_rotate.  NULL: nobody waits.
 */
struct peer_place *peers_next(struct peers *ps);
/* Work was done for it, in the unit of credit. */
void peers_charge(struct peer_place *at, int64_t cost);
/* It has more lines; others of its user come first. */
void peers_rotate(struct peer_place *at);

/* ---- who has to go ------------------------------------------------------ */

/*
 * The oldest unfinished line of the user who has most of them; NULL: there
 * are none.
 */
struct peer_place *peers_unfinished(const struct peers *ps);

/*
 * Whom to close in favour of the newest one when descriptors run short: of
 * those who have not published, then of those who watch, then of those who have
 * published and are silent, the user with most; of this one the connection that
 * was silent longest.  When all are busy, one of the user with most
 * connections; the newest itself when it is his.
 */
struct peer_place *peers_spare(const struct peers *ps,
    struct peer_place *newest, uint64_t now_us);

/*
 * A connection that has not published and was silent for this long, or whose
 * line was unfinished for this long; NULL: none.
 */
struct peer_place *peers_idle(const struct peers *ps, uint64_t now_us,
    uint64_t max_us);

#endif
