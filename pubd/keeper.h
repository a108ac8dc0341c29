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

#include "status.h"
#include "store.h"

struct keeper; /* opaque: keeper.c */

/*
 * The log is away until keeper_open.
 *
 * o        kept; its path must outlive the keeper
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status keeper_new(struct keeper **out,
    const struct store_options *o);
/* Closes the log; what is in its WAL goes into the database before. */
void keeper_free(struct keeper **k);

/*
 * Opens the log for the first time.  A log that is merely locked counts as
 * away.
 */
MUST_USE enum status keeper_open(struct keeper *k, uint64_t now_us,
    struct errmsg *err);

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

/* ---- while it is there -------------------------------------------------- */

/* NULL: the log is away.  Valid until the next call on the keeper. */
struct store_writer *keeper_writer(struct keeper *k);

/*
 * As store_trim, store_checkpoint and store_sizes, on a log that is there; a
 * failure is taken care of as by keeper_failed.
 */
MUST_USE enum status keeper_trim(struct keeper *k,
    const struct store_retain *rule, uint64_t now_us, int *n_rows, bool *more);
MUST_USE enum status keeper_checkpoint(struct keeper *k, int min_pages,
    uint64_t now_us, int *left_pages);
void keeper_sizes(const struct keeper *k, int64_t *log_bytes,
    int64_t *wal_bytes);

/* The log failed in use: closes it when only that can help. */
void keeper_failed(struct keeper *k, enum status st, uint64_t now_us);

/* A commit went through, up to this id: the back-off begins anew. */
void keeper_committed(struct keeper *k, int64_t head);

/* ---- what is known of it ------------------------------------------------ */

bool keeper_is_away(const struct keeper *k);

/* The disk was full at the last commit. */
bool keeper_is_full(const struct keeper *k);

/* The bounds as last seen, those from before while the log is away. */
const struct store_bounds *keeper_seen(const struct keeper *k);

/* Counts the openings, so that each is told. */
unsigned keeper_opening(const struct keeper *k);

/* Has another program written?  Brings bounds up to date when so. */
void keeper_look(struct keeper *k, uint64_t now_us);

/* Brings bounds up to date in any case; ST_OK or why they cannot be told. */
MUST_USE enum status keeper_bounds(struct keeper *k, uint64_t now_us);

#endif
