/* SPDX-License-Identifier: MIT */
/*
 * What the system says about this process (Linux's /proc).  On other systems
 * nothing is known, and the answer is 0.
 */
#ifndef WALCAST_PROC_H
#define WALCAST_PROC_H

#include <stddef.h>
#include <stdint.h>

#include "metrics.h"

struct wire_report;

/* Resident memory, bytes. */
uint64_t proc_rss_bytes(void);

/* Open descriptors, by counting them: 1 ms for some thousands. */
size_t proc_count_fds(void);

/* The soft limit on them. */
uint64_t proc_fds_limit(void);

/*
 * Sets the cells that every process has: descriptors, memory, log lines left
 * out.  n_fds and fds_limit may be 0, not known: then their cells are not set.
 */
void proc_metrics(struct metrics *f, uint64_t n_fds, uint64_t fds_limit);

/*
 * Sets what every process reports about itself: its id, version and last error.
 */
void proc_report(struct wire_report *r);

/*
 * From now on a core of this process holds no memory, whoever takes it: there
 * are secrets in it.  The limit alone does not bind the programs to which a
 * kernel may pipe cores (core(5)).
 */
void proc_dump_no_memory(void);

#endif
