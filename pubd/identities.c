/* SPDX-License-Identifier: MIT */
/*
 * Identities, shared by reference.  Invariant: no two in the table are of the
 * same uid and the same groups, in the kernel's order.  Blocks on nothing.
 */
#include "identities.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "access.h"
#include "log.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

void
identities_init(struct identities *set)
{
	int i;

	*set = (struct identities){.n = 0};
	for (i = 0; i < IDENTITIES_BUCKETS; i++)
		TAILQ_INIT(&set->bucket[i]);
}

/* ---- the table ---------------------------------------------------------- */

static struct identity_list *
identities_bucket(struct identities *set, int64_t uid)
{
	return &set->bucket[(uint64_t)uid % IDENTITIES_BUCKETS];
}

static bool
is_of(const struct identity *id, const struct identities_peer *peer)
{
	return id->uid == peer->uid && id->n_gids == peer->n_gids &&
	    (id->n_gids == 0 ||
		memcmp(id->gid, peer->gid, id->n_gids * sizeof(id->gid[0])) ==
		    0);
}

static struct identity *
identities_make(struct identities *set, const struct identities_peer *peer)
{
	size_t n_bytes = peer->n_gids * sizeof(peer->gid[0]);
	struct identity *id = calloc(1, sizeof(*id) + n_bytes);

	if (id == NULL)
		return NULL;
	id->uid = peer->uid;
	id->n_gids = peer->n_gids;
	if (n_bytes > 0)
		memcpy(id->gid, peer->gid, n_bytes);
	TAILQ_INSERT_HEAD(identities_bucket(set, peer->uid), id, link);
	set->n++;
	return id;
}

enum status
identities_get(struct identities *set, const struct identities_peer *peer,
    struct identity **out)
{
	struct identity *id;

	TAILQ_FOREACH (id, identities_bucket(set, peer->uid), link)
		if (is_of(id, peer))
			break;
	if (id == NULL)
		id = identities_make(set, peer);
	if (id == NULL)
		return ST_NOMEM;
	id->n_refs++;
	*out = id;
	return ST_OK;
}

void
identities_unref(struct identities *set, struct identity **idp)
{
	struct identity *id = *idp;

	*idp = NULL;
	if (id == NULL || --id->n_refs > 0)
		return;
	TAILQ_REMOVE(identities_bucket(set, id->uid), id, link);
	set->n--;
	access_free(&id->rules);
	free(id->verdicts);
	free(id);
}

/* ---- the kernel --------------------------------------------------------- */

/* Once: an old kernel has none of anybody. */
static void
tell_no_groups(struct identities *set)
{
	if (set->has_told)
		return;
	set->has_told = true;
	if (errno == ERANGE)
		log_warnx("a publisher is in more than %d groups: lines `gid` "
			  "of the access file count for the first one only, "
			  "that of his process",
		    IDENTITIES_MAX_GIDS);
	else
		/* UNTESTED: since Linux 4.13 it works */
		log_warn("the kernel does not tell the groups of a publisher: "
			 "lines `gid` of the access file count for the one "
			 "of his process only");
}

/* Adds the supplementary groups; without them the gid alone counts. */
static size_t
add_groups(struct identities *set, int fd, int64_t *gid)
{
	gid_t raw[IDENTITIES_MAX_GIDS - 1];
	socklen_t n_bytes = sizeof(raw);
	size_t i, n;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, raw, &n_bytes) < 0) {
		tell_no_groups(set);
		return 0;
	}
	n = n_bytes / sizeof(raw[0]);
	for (i = 0; i < n; i++)
		gid[i] = (int64_t)raw[i];
	return n;
}

enum status
identities_look(struct identities *set, int fd, int64_t *pid,
    struct identity **out)
{
	int64_t gid[IDENTITIES_MAX_GIDS];
	struct identities_peer peer = {.uid = -1, .gid = gid};
	struct ucred who;
	socklen_t n = sizeof(who);

	*pid = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0) {
		*pid = (int64_t)who.pid;
		peer.uid = (int64_t)who.uid;
		if (set->with_groups) {
			gid[0] = (int64_t)who.gid;
			peer.n_gids = 1 + add_groups(set, fd, gid + 1);
		}
	}
	return identities_get(set, &peer, out);
}
