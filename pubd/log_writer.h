/* SPDX-License-Identifier: MIT */
/*
 * Keeps the log open: notices when its file was replaced or went away,
 * closes what is damaged, opens it again with a back-off that never spins.
 * One thread; blocks on the disk only.
 */
#ifndef WALCAST_LOG_WRITER_H
#define WALCAST_LOG_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"
#include "store.h"

struct log_writer; /* opaque: log_writer.c */

/*
 * The log is away until log_writer_open.
 *
 * o        kept; its path must outlive the log_writer
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status log_writer_new(struct log_writer **out,
    const struct store_options *o);
/* Closes the log; what is in its WAL goes into the database before. */
void log_writer_free(struct log_writer **k);

/*
 * Opens the log for the first time.  A log that is merely locked counts as
 * away.
 */
MUST_USE enum status log_writer_open(struct log_writer *k, uint64_t now_us,
    struct errmsg *err);

/*
 * The log as the previous pubd knew it: if it has the same generation but is
 * shorter now, it has lost events, and gets a new generation.
 */
void log_writer_expect(struct log_writer *k, const struct store_bounds *known,
    uint64_t now_us);

/*
 * Is the log there, and the one at its path?  Opens it anew when it was
 * replaced, and when it is away and the back-off has passed.
 * Returns  ST_OK or why it is away
 */
MUST_USE enum status log_writer_ready(struct log_writer *k, uint64_t now_us);

/* ---- while it is there -------------------------------------------------- */

/* NULL: the log is away.  Valid until the next call on the log_writer. */
struct store_writer *log_writer_writer(struct log_writer *k);

/*
 * As store_trim, store_checkpoint and store_sizes, on a log that is there; a
 * failure is taken care of as by log_writer_failed.
 */
MUST_USE enum status log_writer_trim(struct log_writer *k,
    const struct store_retain *rule, uint64_t now_us, int *n_rows, bool *more);
MUST_USE enum status log_writer_checkpoint(struct log_writer *k, int min_pages,
    uint64_t now_us, int *left_pages);
void log_writer_sizes(const struct log_writer *k, int64_t *log_bytes,
    int64_t *wal_bytes);

/* The log failed in use: closes it when only that can help. */
void log_writer_failed(struct log_writer *k, enum status st, uint64_t now_us);

/* A commit went through, up to this id: the back-off begins anew. */
void log_writer_committed(struct log_writer *k, int64_t head);

/* ---- what is known of it ------------------------------------------------ */

bool log_writer_is_away(const struct log_writer *k);

/* The disk was full at the last commit. */
bool log_writer_is_full(const struct log_writer *k);

/* The bounds as last seen, those from before while the log is away. */
const struct store_bounds *log_writer_seen(const struct log_writer *k);

/* Counts openings, so that watchers are told of each. */
unsigned log_writer_opening(const struct log_writer *k);

/* Has another program written?  Brings bounds up to date when so. */
void log_writer_look(struct log_writer *k, uint64_t now_us);

/* Brings bounds up to date in any case; ST_OK or why they cannot be told. */
MUST_USE enum status log_writer_bounds(struct log_writer *k, uint64_t now_us);

#endif
