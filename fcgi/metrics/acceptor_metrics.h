/* SPDX-License-Identifier: MIT */
/* What an acceptor counts, as metrics of the process that has it.  Pure. */
#ifndef WALCAST_ACCEPTOR_METRICS_H
#define WALCAST_ACCEPTOR_METRICS_H

#include "figures.h"

struct intake_counters;

/*
 * Sets the cells.
 * pauses   the cell for pauses, which has the role in its name
 */
void acceptor_metrics_set(struct figures *f, const struct intake_counters *n,
    enum figure_cell pauses);

#endif
