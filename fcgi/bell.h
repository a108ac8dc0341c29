/* SPDX-License-Identifier: MIT */
/*
 * The watch connection to pubd: it rings after commits, if that is wanted, and
 * takes reports of what this process does.  Only a hint: without it the tail
 * polls.
 */
#ifndef WALCAST_BELL_H
#define WALCAST_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "span.h"
#include "status.h"

struct bell;

struct bell_options {
	const char *socket; /* path of pubd's socket */
	const char *role;   /* as in reports; both outlive the bell */
	bool timing;        /* ask when commits were, and whether to trace */
	/*
	 * pubd says that the log's head is `head`, and that the oldest event
	 * that it had not told of was committed at at_us (monotonic; NULL: it
	 * does not say).  NULL: never rung, it is there for reports only.
	 */
	void (*ring)(void *arg, int64_t head, const int64_t *at_us);
	/* pubd wants spans of traced events, or none any more; or NULL. */
	void (*tracing)(void *arg, bool on);
	void *arg;
};

MUST_USE enum status bell_new(struct bell **out, struct loop *l,
    const struct bell_options *o);
void bell_free(struct bell **b);

bool bell_connected(const struct bell *b);

/*
 * Sends one line (without its newline).  False: it was dropped; pubd is not
 * there, or does not read.
 */
bool bell_report(struct bell *b, struct span line);

/*
 * The same for the last line: connects if need be, and waits until it is out,
 * at most so long.
 */
void bell_last_report(struct bell *b, struct span line, int max_wait_ms);

#endif
