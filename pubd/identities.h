/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a connection, as the kernel noted it when he
 * connected: his uid, his gid and his supplementary groups.  They are asked for
 * once; connections of the same user with the same groups share one object,
 * so that many connections cost no more memory than a few.
 */
#ifndef WALCAST_IDENTITIES_H
#define WALCAST_IDENTITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "status.h"

#define IDENTITIES_BUCKETS 64
/* Of who is in more groups only the first counts. */
#define IDENTITIES_MAX_GIDS 4096

struct access;
struct verdict;

struct identity {
	TAILQ_ENTRY(identity) link;
	size_t n_refs;
	/* What rights.c keeps: verdicts, and rules that concern this one. */
	struct verdict *verdicts; /* NULL: none yet */
	struct access *rules;     /* NULL: all of them may */
	uint64_t rules_edition;   /* 1 more than that of the file; 0: none */
	int64_t uid;              /* -1: not known */
	size_t n_gids;            /* 0: not known, or not asked for */
	int64_t gid[];            /* first that of the process */
};

TAILQ_HEAD(identity_list, identity);

struct identities {
	struct identity_list bucket[IDENTITIES_BUCKETS];
	size_t n;
	bool with_groups; /* they are asked for */
	bool has_told;    /* that there were none to be had */
};

void identities_init(struct identities *set);

/* What the kernel said of a peer. */
struct identities_peer {
	int64_t uid;
	const int64_t *gid;
	size_t n_gids;
};

/*
 * Their identity, with a reference.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status identities_get(struct identities *set,
    const struct identities_peer *peer, struct identity **out);

/*
 * That of the peer of a connected socket; of one that the kernel does not
 * know uid -1.
 *
 * pid      of the peer; 0: not known
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status identities_look(struct identities *set, int fd,
    int64_t *pid, struct identity **out);

/* The reference goes; *id may be NULL. */
void identities_unref(struct identities *set, struct identity **id);

#endif
