/* SPDX-License-Identifier: MIT */
/*
 * Users and their connections.  Invariant: a user is in the table while it
 * has connections; each of them is in the list of its standing.
 */
#include "peers.h"

#include <stdlib.h>

#define BUSY_US    1000000 /* heard of since then: is not idle */
#define LOOK_AHEAD 16      /* of a list, for one that owes nothing */

struct peer {
	TAILQ_ENTRY(peer) link;
	int64_t uid;
	size_t n;
	size_t n_standing[PEER_N_STANDINGS];
	size_t n_listen;
	size_t partial_bytes;
	struct peer_places silent[PEER_N_STANDINGS];
	struct peer_places partial;
};

void
peers_init(struct peers *ps)
{
	int i;

	*ps = (struct peers){.n = 0};
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
make(struct peers *ps, int64_t uid)
{
	struct peer *p = calloc(1, sizeof(*p));
	int i;

	if (p == NULL)
		return NULL;
	p->uid = uid;
	for (i = 0; i < PEER_N_STANDINGS; i++)
		TAILQ_INIT(&p->silent[i]);
	TAILQ_INIT(&p->partial);
	TAILQ_INSERT_HEAD(bucket_of(ps, uid), p, link);
	ps->n++;
	return p;
}

static struct peer *
find(struct peers *ps, int64_t uid)
{
	struct peer *p;

	TAILQ_FOREACH (p, bucket_of(ps, uid), link)
		if (p->uid == uid)
			return p;
	return make(ps, uid);
}

enum status
peers_join(struct peers *ps, struct peer_place *at, int64_t uid,
    const size_t *owed, uint64_t now_us)
{
	*at = (struct peer_place){.peer = find(ps, uid),
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
	if (at == except || *at->owed > 0)
		return false;
	return at->standing != PEER_KNOWN || now_us - at->heard_us > BUSY_US;
}

static struct peer_place *
spare_of(const struct peer *p, enum peer_standing standing,
    const struct peer_place *except, uint64_t now_us)
{
	struct peer_place *at;
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

struct peer_place *
peers_spare(const struct peers *ps, const struct peer_place *except,
    uint64_t now_us)
{
	struct peer_place *at = NULL;
	int i;

	for (i = PEER_NEW; at == NULL && i < PEER_N_STANDINGS; i++) {
		const struct peer *p = most_of(ps, (enum peer_standing)i);

		if (p != NULL)
			at = spare_of(p, (enum peer_standing)i, except, now_us);
	}
	return at;
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
	const struct peer *p;
	struct peer_place *at;
	int i;

	for (i = 0; i < PEERS_BUCKETS; i++)
		TAILQ_FOREACH (p, &ps->bucket[i], link) {
			at = idle_of(p, now_us, max_us);
			if (at != NULL)
				return at;
		}
	return NULL;
}
