/* SPDX-License-Identifier: MIT */
/* The cell of each number that an acceptor counts. */
#include "acceptor_metrics.h"

#include "acceptor.h"

/* By its name: a member of the list without a cell does not compile. */
#define UNREAD(member, word) METRIC_UNREAD_##member,

static const enum metric_cell unread_cells[ACCEPTOR_REFUSALS] = {
    ACCEPTOR_REFUSAL_LIST(UNREAD)};

void
acceptor_metrics_set(struct metrics *f, const struct acceptor_counters *n,
    enum metric_cell pauses)
{
	size_t i;

	for (i = 0; i < ACCEPTOR_REFUSALS; i++)
		metrics_set(f, unread_cells[i], n->n_refused[i]);
	metrics_set(f, METRIC_REQUEST_TIMEOUTS, n->n_timeouts);
	metrics_set(f, pauses, n->n_paused);
}
