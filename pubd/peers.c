/* SPDX-License-Identifier: MIT */
/*
 * Users and their connections.  Invariant: a user is in the table while it
 * has connections; each of them is in the list of its standing.
 */
#include "peers.h"

#include <stdlib.h>

#define USER_CREDIT 512 /* each time that its turn comes */
#define CONN_CREDIT 64
#define BUSY_US     1000000 /* heard of since then: is not idle */
#define LOOK_AHEAD  16      /* of a list, for one that owes nothing */

struct peer {
	TAILQ_ENTRY(peer) link;
	int64_t uid;
	size_t n;
	size_t n_standing[PEER_N_STANDINGS];
	size_t n_listen;
	size_t partial_bytes;
	struct peer_places silent[PEER_N_STANDINGS];
	struct peer_places partial;
	TAILQ_ENTRY(peer) turn;
	struct peer_places fresh, stale; /* which wait for their turn */
	int64_t credit;
	bool is_queued;
};

void
peers_init(struct peers *ps)
{
	int i;

	*ps = (struct peers){.n = 0};
	TAILQ_INIT(&ps->turns);
	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_INIT(&ps->bucket[i]);
}

/* ---- users -------------------------------------------------------------- */

static struct peer_list *
bucket_of(struct peers *ps, int64_t uid)
{
	return &ps->bucket[(uint64_t)uid % PEERS_BUCKETS];
}

static struct peer *
peers_make_user(struct peers *ps, int64_t uid)
{
	struct peer *p = calloc(1, sizeof(*p));
	int i;

	if (p == NULL)
		return NULL;
	p->uid = uid;
	for (i = 0; i < PEER_N_STANDINGS; i++)
		TAILQ_INIT(&p->silent[i]);
	TAILQ_INIT(&p->partial);
	TAILQ_INIT(&p->fresh);
	TAILQ_INIT(&p->stale);
	TAILQ_INSERT_HEAD(bucket_of(ps, uid), p, link);
	ps->n++;
	return p;
}

static struct peer *
peers_find_user(struct peers *ps, int64_t uid)
{
	struct peer *p;

	TAILQ_FOREACH (p, bucket_of(ps, uid), link)
		if (p->uid == uid)
			return p;
	return peers_make_user(ps, uid);
}

enum status
peers_join(struct peers *ps, struct peer_place *at, int64_t uid,
    const size_t *owed, uint64_t now_us)
{
	*at = (struct peer_place){.peer = peers_find_user(ps, uid),
	    .owed = owed,
	    .heard_us = now_us};
	if (at->peer == NULL)
		return ST_NOMEM;
	at->peer->n++;
	at->peer->n_standing[PEER_NEW]++;
	TAILQ_INSERT_TAIL(&at->peer->silent[PEER_NEW], at, silent);
	return ST_OK;
}

static void
leave_standing(struct peer_place *at)
{
	TAILQ_REMOVE(&at->peer->silent[at->standing], at, silent);
	at->peer->n_standing[at->standing]--;
}

void
peers_leave(struct peers *ps, struct peer_place *at)
{
	struct peer *p = at->peer;

	if (p == NULL)
		return;
	peers_partial(ps, at, 0, 0);
	peers_unqueue(ps, at);
	leave_standing(at);
	p->n_listen -= at->listens;
	at->peer = NULL;
	if (--p->n > 0)
		return;
	TAILQ_REMOVE(bucket_of(ps, p->uid), p, link);
	ps->n--;
	free(p);
}

/* ---- what a connection does --------------------------------------------- */

void
peers_heard(struct peer_place *at, uint64_t now_us)
{
	if (at->peer == NULL)
		return;
	at->heard_us = now_us;
	TAILQ_REMOVE(&at->peer->silent[at->standing], at, silent);
	TAILQ_INSERT_TAIL(&at->peer->silent[at->standing], at, silent);
}

void
peers_stand(struct peer_place *at, enum peer_standing standing)
{
	if (at->peer == NULL || standing <= at->standing)
		return;
	leave_standing(at);
	at->standing = standing;
	at->peer->n_standing[standing]++;
	TAILQ_INSERT_TAIL(&at->peer->silent[standing], at, silent);
}

enum status
peers_listen(struct peer_place *at, size_t max)
{
	if (at->peer == NULL || at->listens)
		return ST_OK;
	if (at->peer->n_listen >= max)
		return ST_FULL;
	at->peer->n_listen++;
	at->listens = true;
	return ST_OK;
}

void
peers_partial(struct peers *ps, struct peer_place *at, size_t n_bytes,
    uint64_t now_us)
{
	struct peer *p = at->peer;

	if (p == NULL)
		return;
	p->partial_bytes += n_bytes - at->partial_bytes;
	ps->partial_bytes += n_bytes - at->partial_bytes;
	at->partial_bytes = n_bytes;
	if (at->is_partial == (n_bytes > 0))
		return;
	at->is_partial = n_bytes > 0;
	at->line_us = now_us;
	if (at->is_partial)
		TAILQ_INSERT_TAIL(&p->partial, at, partial);
	else
		TAILQ_REMOVE(&p->partial, at, partial);
}

/* ---- turns -------------------------------------------------------------- */

static bool
has_lines(const struct peer *p)
{
	return !TAILQ_EMPTY(&p->fresh) || !TAILQ_EMPTY(&p->stale);
}

static struct peer_places *
line_of(struct peer_place *at)
{
	return at->is_fresh ? &at->peer->fresh : &at->peer->stale;
}

void
peers_queue(struct peers *ps, struct peer_place *at)
{
	struct peer *p = at->peer;

	if (p == NULL || at->is_queued)
		return;
	at->is_queued = true;
	/* It still owes what it took beyond its credit. */
	at->is_fresh = at->credit >= 0;
	at->credit = at->credit > 0 ? 0 : at->credit;
	TAILQ_INSERT_TAIL(line_of(at), at, turn);
	if (p->is_queued)
		return;
	p->is_queued = true;
	p->credit = p->credit > 0 ? 0 : p->credit;
	TAILQ_INSERT_TAIL(&ps->turns, p, turn);
}

void
peers_unqueue(struct peers *ps, struct peer_place *at)
{
	struct peer *p = at->peer;

	if (p == NULL || !at->is_queued)
		return;
	TAILQ_REMOVE(line_of(at), at, turn);
	at->is_queued = false;
	if (has_lines(p))
		return;
	p->is_queued = false;
	TAILQ_REMOVE(&ps->turns, p, turn);
}

void
peers_rotate(struct peer_place *at)
{
	TAILQ_REMOVE(line_of(at), at, turn);
	at->is_fresh = false;
	TAILQ_INSERT_TAIL(&at->peer->stale, at, turn);
}

void
peers_charge(struct peer_place *at, int64_t cost)
{
	at->credit -= cost;
	if (at->peer != NULL)
		at->peer->credit -= cost;
}

/* The user whose turn it is; one that has used up its credit waits. */
static struct peer *
next_user(struct peers *ps)
{
	struct peer *p;

	while ((p = TAILQ_FIRST(&ps->turns)) != NULL && p->credit <= 0) {
		p->credit += USER_CREDIT;
		TAILQ_REMOVE(&ps->turns, p, turn);
		TAILQ_INSERT_TAIL(&ps->turns, p, turn);
	}
	return p;
}

struct peer_place *
peers_next(struct peers *ps)
{
	struct peer *p = next_user(ps);
	struct peer_place *at = NULL;

	if (p == NULL)
		return NULL;
	for (;;) {
		at = TAILQ_FIRST(&p->fresh);
		if (at == NULL)
			at = TAILQ_FIRST(&p->stale);
		at->credit += CONN_CREDIT;
		if (at->credit > 0)
			return at;
		peers_rotate(at);
	}
}

/* ---- who has to go ------------------------------------------------------ */

struct peer_place *
peers_unfinished(const struct peers *ps)
{
	const struct peer *p, *most = NULL;
	int i;

	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_FOREACH (p, &ps->bucket[i], link)
			if (p->partial_bytes > 0 &&
			    (most == NULL ||
				p->partial_bytes > most->partial_bytes))
				most = p;
	return most == NULL ? NULL : TAILQ_FIRST(&most->partial);
}

static bool
is_spare(const struct peer_place *at, const struct peer_place *except,
    uint64_t now_us)
{
	if (at == except || *at->owed > 0 || at->is_queued)
		return false;
	return at->standing != PEER_KNOWN || now_us - at->heard_us > BUSY_US;
}

static struct peer_place *
spare_of(const struct peer *p, enum peer_standing standing,
    const struct peer_place *except, uint64_t now_us)
{
	struct peer_place *at = NULL;
	int n = LOOK_AHEAD;

	TAILQ_FOREACH (at, &p->silent[standing], silent) {
		if (is_spare(at, except, now_us))
			return at;
		if (--n == 0)
			break;
	}
	return NULL;
}

static const struct peer *
most_of(const struct peers *ps, enum peer_standing standing)
{
	const struct peer *p, *most = NULL;
	int i;

	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_FOREACH (p, &ps->bucket[i], link)
			if (p->n_standing[standing] > 0 &&
			    (most == NULL ||
				p->n_standing[standing] >
				    most->n_standing[standing]))
				most = p;
	return most;
}

/* All are busy: the user with most connections loses a busy one. */
static struct peer_place *
busy_of(const struct peer *p, uint64_t now_us)
{
	struct peer_place *at = NULL;
	int i;

	for (i = PEER_N_STANDINGS; at == NULL && i-- > 0;)
		at = spare_of(p, (enum peer_standing)i, NULL,
		    now_us + BUSY_US + 1);
	for (i = PEER_N_STANDINGS; at == NULL && i-- > 0;)
		at = TAILQ_FIRST(&p->silent[i]);
	return at;
}

static const struct peer *
greatest(const struct peers *ps)
{
	const struct peer *p, *most = NULL;
	int i;

	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_FOREACH (p, &ps->bucket[i], link)
			if (most == NULL || p->n > most->n)
				most = p;
	return most;
}

struct peer_place *
peers_spare(const struct peers *ps, struct peer_place *newest, uint64_t now_us)
{
	struct peer_place *at = NULL;
	const struct peer *p = NULL;
	int i;

	for (i = PEER_NEW; at == NULL && i < PEER_N_STANDINGS; i++) {
		p = most_of(ps, (enum peer_standing)i);
		if (p != NULL)
			at = spare_of(p, (enum peer_standing)i, newest, now_us);
	}
	if (at != NULL)
		return at;
	p = greatest(ps);
	return p == NULL || p == newest->peer ? newest : busy_of(p, now_us);
}

static struct peer_place *
idle_of(const struct peer *p, uint64_t now_us, uint64_t max_us)
{
	struct peer_place *at = TAILQ_FIRST(&p->partial);

	if (at != NULL && now_us - at->line_us > max_us)
		return at;
	at = TAILQ_FIRST(&p->silent[PEER_NEW]);
	if (at != NULL && now_us - at->heard_us > max_us && *at->owed == 0)
		return at;
	return NULL;
}

struct peer_place *
peers_idle(const struct peers *ps, uint64_t now_us, uint64_t max_us)
{
	const struct peer *p = NULL;
	struct peer_place *at = NULL;
	int i;

	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_FOREACH (p, &ps->bucket[i], link) {
			at = idle_of(p, now_us, max_us);
			if (at != NULL)
				return at;
		}
	return NULL;
}
