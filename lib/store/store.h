/* SPDX-License-Identifier: MIT */
/*
 * The log: an append-only sequence of events, numbered 1, 2, 3, … by the store,
 * with old ones removed from the front.  Writer and reader are two types, so
 * that a worker cannot append.  Another backend is another set of the files
 * that implement both:
 *
 *	store_file        making a log, its version, its modes
 *	store_open        why it cannot be opened; what is synced first
 *	store_writer      transactions that append
 *	store_generation  what others did to it, noticed and set right
 *	store_retain      retention and checkpoints
 *	store_reader      pages of events, channels, is it whole
 *	store_newest      where the newest n events begin
 *
 * A reader never holds a statement open between calls (an open one pins the
 * WAL).  When the log goes away (ST_MOVED, ST_CORRUPT, ST_IO, ST_DENIED), its
 * user closes it and opens it again, with back-off (store_keep.h).
 */
#ifndef WALCAST_STORE_H
#define WALCAST_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event.h"
#include "revocation.h"
#include "span.h"
#include "status.h"

struct hist;

#define STORE_GENERATION_BYTES 33 /* with the terminating NUL */

/* Rows of more data than this are refused by the schema. */
#define STORE_MAX_DATA_BYTES (4u << 20)

struct store_bounds {
	int64_t head; /* the newest id ever given out; 0: none yet */
	int64_t
	    oldest; /* the oldest id retained; head + 1 when there is none */
	char generation[STORE_GENERATION_BYTES]; /* random, made with the log */
};

struct store_options {
	const char *path;
	bool synchronous_full; /* writer: false is NORMAL */
	struct hist *syncs;    /* writer: counts the time of each sync of its
				  files, microseconds; outlives it; NULL: not
				  timed */
	bool for_show;         /* reader: what it reads is shown to people and
				  handed on to nobody: opening does not sync */
};

/* ---- creation ---------------------------------------------------------- */

enum store_access {
	STORE_STRICT, /* directory 2750, files 0640: publish by socket only */
	STORE_OPEN    /* directory 2770, files 0660: SQL writers allowed too */
};

/*
 * Creates the log, or brings an older one up to this version, and sets the
 * modes of the directory (made when missing) and of the files.
 *
 * group    owner group for directory and files, NULL: leave as it is
 */
MUST_USE enum status store_create(const char *path, enum store_access access,
    const char *group, struct errmsg *err);

/*
 * Compares the modes of directory and files with the two that work, and the
 * version with ours, without opening the file by hand.
 *
 * Returns  ST_OK, ST_NOTFOUND, ST_DENIED, ST_SCHEMA; err names the remedy
 */
MUST_USE enum status store_check_modes(const char *path, struct errmsg *err);

/*
 * Can this process read it?  Its modes, and whether it opens.
 * Returns  ST_OK, else err names the remedy
 */
MUST_USE enum status store_check_reading(const char *path, struct errmsg *err);

/* Sizes of its files on the disk, without opening them; 0: not there. */
void store_file_sizes(const char *path, int64_t *db_bytes, int64_t *wal_bytes);

/* ---- writer: pubd, trim ------------------------------------------------ */

struct store_writer;

MUST_USE enum status store_writer_open(struct store_writer **out,
    const struct store_options *o, struct errmsg *err);
void store_writer_close(struct store_writer **w);

/*
 * One transaction: begin, append…, commit or rollback.  begin takes the write
 * lock at once: ST_BUSY when another process has it.  Any failure of append
 * or commit other than ST_CONSTRAINT and ST_EXISTS has rolled everything
 * back; a new begin is allowed.
 */
MUST_USE enum status store_begin(struct store_writer *w);

/*
 * Appends one event: channel, event, key, trace, kind, data and ts_ms are
 * taken, id and prev are given out in *e.
 *
 * Returns  ST_OK
 *          ST_EXISTS      the key was used on this channel before: e->id is
 *                         the first one's id; nothing was appended
 *          ST_CONSTRAINT  a rule of the schema is broken: nothing appended
 *          ST_SCHEMA      no id is left: somebody has set sqlite_sequence;
 *                         the transaction is gone, the writer is usable
 *          else           the transaction is gone
 */
MUST_USE enum status store_append(struct store_writer *w, struct event *e);

/*
 * Appends a revocation in the open transaction: an event, and its row where
 * retention does not reach.  e->ts_ms is taken and must be r->at_ms; id and
 * prev are given out.
 * Returns  as store_append
 */
MUST_USE enum status store_revoke(struct store_writer *w,
    const struct revocation *r, struct event *e);

/* A group of appends in the transaction that can be undone by itself. */
MUST_USE enum status store_group_begin(struct store_writer *w);
MUST_USE enum status store_group_end(struct store_writer *w);
MUST_USE enum status store_group_undo(struct store_writer *w);

/*
 * ST_OK: what was appended is durable.  ST_MOVED: another file took the
 * path's place meanwhile, or its -wal was cut off, and what was appended is
 * not in it, although readers may have seen it.
 */
MUST_USE enum status store_commit(struct store_writer *w);
void store_rollback(struct store_writer *w);

/* Why the last call failed, for the log. */
const char *store_writer_error(struct store_writer *w);

MUST_USE enum status store_writer_bounds(struct store_writer *w,
    struct store_bounds *b);

/* Has anybody else committed since the last call (or the opening)? */
MUST_USE enum status store_writer_changed(struct store_writer *w,
    bool *changed);

/*
 * A number that differs if another event is given this id; comparable while
 * this process runs.
 * Returns  ST_OK, ST_NOTFOUND (there is no such event any more), else
 */
MUST_USE enum status store_writer_mark(struct store_writer *w, int64_t id,
    uint64_t *mark);

/*
 * ST_MOVED when the log, its -wal or its -shm has been deleted or replaced:
 * close it, for what is appended now might be lost.
 */
MUST_USE enum status store_writer_check(struct store_writer *w);

/*
 * After a failure: was the log's -wal cut off?  Then it counts as moved, and
 * its last events are lost.
 */
bool store_writer_was_cut(struct store_writer *w);

/*
 * After ST_MOVED, and before closing: puts what this writer alone still has
 * back into the log.
 *
 * Returns  ST_OK    nothing is lost
 *          ST_BUSY  a reader is in the way: try again
 *          ST_MOVED the log at its path is another one
 *          else     its last events are lost
 */
MUST_USE enum status store_writer_salvage(struct store_writer *w);

/*
 * Gives the log a new generation: its last events were lost, and their ids will
 * be given out again.  Links to lost events are corrected.
 */
MUST_USE enum status store_writer_renew(struct store_writer *w);

struct store_retain {
	int64_t before_id;  /* events below it go; 0: none */
	int64_t max_events; /* 0: no limit */
	int64_t min_ts_ms;  /* older ones go; 0: no limit */
	int64_t now_ms;     /* later times are not believed; 0: all are */
	int64_t max_bytes;  /* of the database's live pages; 0: no limit */
	int max_rows;       /* at most so many in this call */
};

/*
 * Deletes a bounded number of events from the front, in a transaction of its
 * own.  *more tells that there is more to delete.
 */
MUST_USE enum status store_trim(struct store_writer *w,
    const struct store_retain *r, int *n_deleted, bool *more);

/*
 * Moves WAL pages into the database when more than `pages` wait; never waits
 * for readers.
 *
 * left   pages in the WAL that could not be moved; -1: too few wait, nothing
 *        was done
 */
MUST_USE enum status store_checkpoint(struct store_writer *w, int pages,
    int *left);

/* Bytes of live pages in the database, and of its WAL. */
void store_sizes(struct store_writer *w, int64_t *db_bytes, int64_t *wal_bytes);

/* ---- reader: workers, tail, audit --------------------------------------- */

struct store_reader;

MUST_USE enum status store_reader_open(struct store_reader **out,
    const struct store_options *o, struct errmsg *err);
void store_reader_close(struct store_reader **r);
const char *store_reader_error(struct store_reader *r);

MUST_USE enum status store_reader_bounds(struct store_reader *r,
    struct store_bounds *b);

/* Opens a log, reads its bounds, closes it. */
MUST_USE enum status store_bounds_of(const struct store_options *o,
    struct store_bounds *b, struct errmsg *err);

/*
 * Have others changed the log's triggers, journal mode or ids?  ST_SCHEMA: they
 * have; err says what and what to do.
 */
MUST_USE enum status store_reader_examine(struct store_reader *r,
    struct errmsg *err);

/* As store_writer_changed: one PRAGMA data_version, 3 us. */
MUST_USE enum status store_reader_changed(struct store_reader *r,
    bool *changed);

/* As store_writer_check. */
MUST_USE enum status store_reader_check(struct store_reader *r);

/* What a page is for; returned by the callbacks below. */
enum store_verdict {
	STORE_TAKE, /* give me this event's data */
	STORE_SKIP, /* not mine; the payload is not read */
	STORE_STOP  /* end the page before this event */
};

struct store_page {
	int64_t after_id; /* in: rows with a greater id */
	int64_t upto_id;  /* in: and not beyond; 0: no bound */
	int max_rows;     /* in: looks at no more rows than this */
	/*
	 * Called with id, channel and event only (data is SPAN_NONE); NULL
	 * takes everything.
	 */
	enum store_verdict (*want)(void *arg, const struct event *e);
	/*
	 * Called with the whole event, whose spans are valid during the call
	 * only.  Returning anything but ST_OK ends the page before this event
	 * (ST_FULL: no more room, not an error).
	 */
	enum status (*take)(void *arg, const struct event *e);
	void *arg;
	int64_t first_id;   /* out: the first row looked at; 0: none */
	int64_t scanned_id; /* out: everything up to here was considered */
	int n_rows;         /* out: rows looked at */
	bool end;           /* out: no rows are left after scanned_id */
};

/*
 * Reads one page in id order; holds no statement open when it returns.
 * scanned_id is the last row's id that was taken or skipped (after_id when none
 * was).  ST_OK also for an empty page.
 */
MUST_USE enum status store_read(struct store_reader *r,
    struct store_page *page);

/*
 * The position from which exactly the newest n wanted events follow (`want`
 * as above), looking at no more than max_rows rows from the end; fewer when
 * there are fewer.
 */
MUST_USE enum status store_newest(struct store_reader *r,
    struct store_page *page, int n, int64_t *position);

#define STORE_NAMES_MAX 64

/*
 * The same for these channels alone, by following each row's link to the one
 * before it on its channel: it costs one row for each of their events, however
 * many others there are.
 *
 * name     at most STORE_NAMES_MAX, no two equal
 * page     upto_id, max_rows, want and arg count; `want` is shown the id, the
 *          channel and the event
 * Returns  as above; ST_FULL: n were not found in max_rows rows
 */
MUST_USE enum status store_newest_of(struct store_reader *r,
    const struct span *name, size_t n_names, struct store_page *page, int n,
    int64_t *position);

/*
 * Was it revoked, and when?
 * Returns  ST_OK, ST_NOTFOUND (it was not), else nobody knows
 */
MUST_USE enum status store_revoked(struct store_reader *r,
    enum revocation_kind kind, struct span value, int64_t *at_ms);

/* Calls fn for each revocation that is kept; `id` is its event's. */
MUST_USE enum status store_revocations(struct store_reader *r,
    enum status (*fn)(void *arg, const struct revocation *v, int64_t id),
    void *arg);

/* Calls fn for each channel with its newest id, in name order. */
MUST_USE enum status store_channels(struct store_reader *r,
    enum status (*fn)(void *arg, struct span name, int64_t last_id), void *arg);

#endif
