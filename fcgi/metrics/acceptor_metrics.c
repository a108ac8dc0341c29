/* SPDX-License-Identifier: MIT */
/* The cell of each number that an acceptor counts. */
#include "acceptor_metrics.h"

#include "intake.h"

/* By its name: a member of the list without a cell does not compile. */
#define UNREAD(member, word) FIG_UNREAD_##member,

static const enum figure_cell unread_cells[INTAKE_REFUSALS] = {
    INTAKE_REFUSAL_LIST(UNREAD)};

void
acceptor_metrics_set(struct figures *f, const struct intake_counters *n,
    enum figure_cell pauses)
{
	size_t i;

	for (i = 0; i < INTAKE_REFUSALS; i++)
		figures_set(f, unread_cells[i], n->n_refused[i]);
	figures_set(f, FIG_REQUEST_TIMEOUTS, n->n_timeouts);
	figures_set(f, pauses, n->n_paused);
}
