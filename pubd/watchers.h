/* SPDX-License-Identifier: MIT */
/*
 * Connections that watch: each is told the newest head after a commit, unless
 * it does not want to be.  One whose socket is full is told later, then of the
 * newest head: there is no queue.  The same connections bring the processes'
 * reports.
 */
#ifndef WALCAST_WATCHERS_H
#define WALCAST_WATCHERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "span.h"
#include "status.h"

struct conn;
struct watcher;

TAILQ_HEAD(watcher_list, watcher);

/* What there is to be told. */
struct watchers_news {
	int64_t head;
	/*
	 * Counts openings of the log: a log that replaced another is news even
	 * when its head is the same.
	 */
	unsigned opening;
	/*
	 * Monotonic time at which the commit that brought it returned; 0 when
	 * that is not known, as of what was written by SQL.
	 */
	uint64_t at_us;
};

struct watchers {
	struct watcher_list named;        /* those that report, and ... */
	struct watcher_list list;         /* ... all others, told by and by: */
	struct watcher *next;             /* the next in it; NULL: all were */
	struct watchers_news begun, seen; /* of this round: first and last */
	struct watchers_news done;        /* all of the list know this */
	bool is_late;       /* others have come since, or before this round */
	bool is_backlogged; /* somebody's socket was full */
	size_t n;           /* of those that want to be told */
};

void watchers_init(struct watchers *ws);

struct watchers_wish {
	bool wake;   /* tell it of news; else it only reports */
	bool timing; /* and when they were committed */
};

/*
 * Makes the connection a watcher; it has just been told these news.  Calling it
 * again is no error: the last wish counts.
 */
MUST_USE enum status watchers_add(struct watchers *ws, struct conn *c,
    const struct watchers_news *news, struct watchers_wish wish);

/*
 * Tells the news to all who want them and do not have them.  When one line
 * stands for several commits its time is that of the oldest.  A bounded number
 * in each call, the processes that report first; true: more are to be told at
 * once.
 */
bool watchers_ring(struct watchers *ws, const struct watchers_news *news);

/*
 * It reports under this name.
 * Returns  ST_OK
 *          ST_INVALID  the connection does not watch, or it has another name
 *          ST_EXISTS   another process reports under it
 *          ST_FULL     this is too often
 */
MUST_USE enum status watchers_report(struct watchers *ws, struct conn *c,
    struct span name, uint64_t now_us);

/*
 * What it reported under, if no other connection does (a process may have
 * opened a new one before we see the end of its old one); else SPAN_NONE.
 */
struct span watchers_last_name(const struct watchers *ws, const struct conn *c);

/* The connection is going: forgets it. */
void watchers_drop(struct watchers *ws, struct conn *c);

#endif
