/* SPDX-License-Identifier: MIT */
/* What an acceptor counts, as metrics of the process that has it.  Pure. */
#ifndef WALCAST_ACCEPTOR_METRICS_H
#define WALCAST_ACCEPTOR_METRICS_H

#include "metrics.h"

struct acceptor_counters;

/*
 * Sets the cells.
 * pauses   the cell for pauses, which has the role in its name
 */
void acceptor_metrics_set(struct metrics *f, const struct acceptor_counters *n,
    enum metric_cell pauses);

#endif
