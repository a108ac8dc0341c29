/* SPDX-License-Identifier: MIT */
/*
 * Keeps the log open: notices when its file was replaced or went away,
 * closes what is damaged, opens it again with a back-off that never spins.
 * One thread; blocks on the disk only.
 */
#ifndef WALCAST_KEEPER_H
#define WALCAST_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "status.h"
#include "store.h"

struct keeper {
	struct store_writer *writer; /* NULL: the log is away */
	struct store_options options;
	struct store_bounds bounds; /* as last seen; kept while away */
	enum status why;            /* it is away, or ST_OK */
	unsigned opening;           /* counts them, so that each is told */
	struct log_gate failed_gate, waits_gate; /* commit.c's */
	bool full;  /* the disk was, at the last commit */
	bool heal;  /* a checkpoint is due after an I/O error */
	bool doubt; /* somebody wrote, and we have not looked yet */
	struct {
		int64_t id;    /* 0: none */
		uint64_t mark; /* store_writer_mark's; 0: deleted */
	} witness;             /* an event that must stay what it is */
	bool lost;         /* its last events were, by what happened to it */
	uint64_t retry_us; /* when to try again */
	uint64_t backoff_us;
};

/*
 * Opens the log for the first time.  A log that is merely locked counts as
 * away.
 *
 * o   kept; its path must outlive the keeper
 */
MUST_USE enum status keeper_open(struct keeper *k,
    const struct store_options *o, uint64_t now_us, struct errmsg *err);
void keeper_fini(struct keeper *k);

/*
 * The pubd before this one knew the log so: of this generation and shorter,
 * it has lost events, and gets a new generation.
 */
void keeper_expect(struct keeper *k, const struct store_bounds *known,
    uint64_t now_us);

/*
 * Is the log there, and the one at its path?  Opens it anew when it was
 * replaced, and when it is away and the back-off has passed.
 * Returns  ST_OK or why it is away
 */
MUST_USE enum status keeper_ready(struct keeper *k, uint64_t now_us);

/* The log failed in use: closes it when only that can help. */
void keeper_failed(struct keeper *k, enum status st, uint64_t now_us);

/* A commit went through, up to this id: the back-off begins anew. */
void keeper_committed(struct keeper *k, int64_t head);

/* Has another program written?  Brings bounds up to date when so. */
void keeper_look(struct keeper *k, uint64_t now_us);

/* The bounds as they are now; ST_OK or why they cannot be told. */
MUST_USE enum status keeper_bounds(struct keeper *k, uint64_t now_us);

#endif
