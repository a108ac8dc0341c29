/* SPDX-License-Identifier: MIT */
/*
 * Connections that watch: each is told of the newest head after a commit.
 * One whose socket is full is told later, of the newest one then: there is
 * no queue.  The same connections bring the workers' reports.
 */
#ifndef WALCAST_WATCHERS_H
#define WALCAST_WATCHERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "span.h"
#include "status.h"

struct conn;
struct watcher;

TAILQ_HEAD(watcher_list, watcher);

struct watchers {
	struct watcher_list list;
	size_t n;
};

void watchers_init(struct watchers *ws);

/*
 * Makes a watcher of the connection, which was told `head` just now.  Once
 * more is no error.
 */
MUST_USE enum status watchers_add(struct watchers *ws, struct conn *c,
    int64_t head, unsigned opening);

/*
 * Tells all of them that have not heard of this head of this log.
 *
 * opening   which opening of the log; a log that took the place of another
 *           is told even when its head is the same number
 */
void watchers_ring(struct watchers *ws, int64_t head, unsigned opening);

/*
 * Keeps the name under which it has reported.
 * Returns  ST_OK or ST_INVALID (the connection does not watch)
 */
MUST_USE enum status watchers_named(struct conn *c, struct span name);

/* What it reported under; SPAN_NONE when it never did. */
struct span watchers_name(const struct conn *c);

/* The connection is going: forgets it. */
void watchers_drop(struct watchers *ws, struct conn *c);

#endif
