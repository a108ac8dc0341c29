/* SPDX-License-Identifier: MIT */
/* What the files of the log in SQLite share; private to store*.c. */
#ifndef WALCAST_STORE_PRIVATE_H
#define WALCAST_STORE_PRIVATE_H

#include <stdint.h>

#include "db.h"
#include "name.h"
#include "store.h"

#define STORE_MAX_ID INT64_C(9007199254740991) /* what JavaScript can count */

/*
 * The statements of a writer and of a reader: the member's name and its SQL
 * (sql/statements.sql).  They are prepared, and freed, by these lists.
 */
#define STORE_WRITER_SQL(X)                                                    \
	X(append, sql_append)                                                  \
	X(key_id, sql_key_id)                                                  \
	X(tip_get, sql_channel_last)                                           \
	X(tip_set, sql_channel_set)                                            \
	X(bounds, sql_bounds)                                                  \
	X(cut_by_age, sql_cut_by_age)                                          \
	X(trim, sql_trim)                                                      \
	X(forget, sql_channels_forget)                                         \
	X(forget_next, sql_channels_next)                                      \
	X(begin, "BEGIN IMMEDIATE")                                            \
	X(commit, "COMMIT")                                                    \
	X(version, "PRAGMA data_version")                                      \
	X(witness, sql_witness)                                                \
	X(revoke, sql_revoke)                                                  \
	X(revoked_at, sql_revoked)                                             \
	X(forget_revoked, sql_revocations_forget)                              \
	X(newest, "SELECT coalesce(max(id), 0) FROM events")

#define STORE_READER_SQL(X)                                                    \
	X(page, sql_page)                                                      \
	X(newest, sql_newest)                                                  \
	X(bounds, sql_bounds)                                                  \
	X(channels, sql_channels)                                              \
	X(tip, sql_channel_last)                                               \
	X(link, sql_link)                                                      \
	X(version, "PRAGMA data_version")

struct tip; /* store_writer.c */

struct store_writer {
	struct db *db;
	STORE_WRITER_SQL(DB_STMT_MEMBER)
	char *path;
	struct tip *tips;
	uint64_t group; /* counts groups; odd while one is open */
	int64_t data_version;
	char sweep[NAME_MAX_BYTES + 1];
};

struct store_reader {
	struct db *db;
	struct db_stmt *revoked; /* NULL: a log of version 1 has no such table,
				    or nobody has asked */
	STORE_READER_SQL(DB_STMT_MEMBER)
	int64_t data_version;
};

/* Opens the database, and says in this project's words why it cannot. */
MUST_USE enum status store_open_db(struct db **db,
    const struct store_options *o, enum db_mode mode, struct errmsg *err);

/* Is this a log of ours, of a version that we use? */
MUST_USE enum status store_file_version(struct db *db, const char *path,
    bool reads, struct errmsg *err);

/* Makes of an older log one of our version. */
MUST_USE enum status store_file_bring_up(struct db *db, const char *path,
    struct errmsg *err);

/* sql_bounds, prepared. */
MUST_USE enum status store_bounds_read(struct db_stmt *s,
    struct store_bounds *b);

/*
 * PRAGMA data_version, prepared: is it another one than *seen, which it
 * becomes?
 */
MUST_USE enum status store_version_changed(struct db_stmt *s, int64_t *seen,
    bool *changed);

/* The columns id, channel and event of a row; the rest is left empty. */
void event_head(struct db_stmt *s, struct event *e);

#endif
