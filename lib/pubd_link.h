/* SPDX-License-Identifier: MIT */
/*
 * The watch connection to pubd: pubd tells of commits on it, if wanted, and
 * takes reports of what this process does.  News are only a hint: without them
 * the tail polls.
 */
#ifndef WALCAST_PUBD_LINK_H
#define WALCAST_PUBD_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "span.h"
#include "status.h"

struct pubd_link;

struct pubd_link_options {
	const char *socket; /* path of pubd's socket */
	const char *role;   /* as in reports; both outlive the link */
	bool timing;        /* ask when commits were, and whether to trace */
	/*
	 * pubd says that the log's head is `head`, and that the oldest event
	 * that it had not told of was committed at at_us (monotonic; NULL: it
	 * does not say).  NULL: no news are wanted; the connection is for
	 * reports only.
	 */
	void (*woken)(void *arg, int64_t head, const int64_t *at_us);
	/* pubd wants spans of traced events, or none any more; or NULL. */
	void (*tracing)(void *arg, bool on);
	void *arg;
};

MUST_USE enum status pubd_link_new(struct pubd_link **out, struct loop *loop,
    const struct pubd_link_options *o);
void pubd_link_free(struct pubd_link **l);

bool pubd_link_connected(const struct pubd_link *l);

/*
 * Sends one line (without its newline).  False: it was dropped; pubd is not
 * there, or does not read.
 */
bool pubd_link_send(struct pubd_link *l, struct span line);

/*
 * The same for the last line: connects if need be, and waits until it is out,
 * at most so long.
 */
void pubd_link_send_last(struct pubd_link *l, struct span line,
    int max_wait_ms);

#endif
