/* SPDX-License-Identifier: MIT */
/*
 * Retention and checkpoints, a little each turn, after the answers.  One
 * thread; blocks on the disk.
 */
#ifndef WALCAST_RETAIN_H
#define WALCAST_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

struct conf;
struct log_writer;

struct retain {
	uint64_t due_us;   /* when to look again, unless events come first */
	size_t n_new;      /* events since it looked */
	bool no_room;      /* the disk is full, retention has work */
	int left_pages;    /* of the WAL, that readers kept from being moved */
	uint64_t retry_us; /* when to try those again */
	/* What it has done since the start: */
	uint64_t n_runs, n_trimmed, run_us;
	uint64_t n_checkpoints, n_blocked;
	/* What the log has not been told of: */
	uint64_t n_untold;
	struct log_state trimmed, blocked;
};

/* n_new   events that were stored since the last call */
void retain_run(struct retain *r, struct log_writer *k, const struct conf *c,
    size_t n_new, uint64_t now_us, int64_t now_ms);

/* When there is more to do. */
uint64_t retain_due_us(const struct retain *r);

#endif
