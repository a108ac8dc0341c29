/* SPDX-License-Identifier: MIT */
/*
 * A publisher's conversation with pubd: requests go out, as many as the window
 * takes, and the ids that come back are printed.
 *
 * Invariant: `sent` holds, oldest first, the requests that pubd has not
 * answered; answers come in their order.  What pubd had no tokens for
 * (rate_limited) waits in `again` and is sent before anything new, once
 * nothing else is on its way.  Waits for its input without limit, and for
 * pubd no longer than the time-out while something is on its way to it.
 */
#ifndef WALCAST_CLI_PUBLISHER_H
#define WALCAST_CLI_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli_lines.h"
#include "cli_link.h"
#include "cli_queue.h"
#include "cli_request.h"
#include "span.h"
#include "status.h"

struct cli_publisher {
	/* Of the caller; the rest begins as zeros. */
	struct cli_request request; /* what all events have in common */
	bool lines;                 /* each line of the input is an event */
	uint64_t timeout_us;
	const char *socket;

	/* Its own. */
	uint64_t deadline_us; /* the next answer is there by then */
	uint64_t opened_us;   /* when the link was */
	struct sock_client link;
	struct values values;     /* of the answer at hand */
	struct cli_queue sent;    /* not answered */
	struct cli_queue refused; /* for now, since the last of `again` went */
	struct cli_queue again;   /* refused for now, before that */
	size_t limit;             /* so many may be on their way */
	size_t n_stored;          /* since the last of `again` went */
	uint64_t pause_us;        /* before the first of `again` may go */
	uint64_t give_up_us;      /* unless one is stored before */

	/* To be read. */
	uint64_t n_acked, n_failed;
};

/*
 * Connects.  To be closed, however this ends.
 *
 * max_data   bytes of an event's data
 *
 * Returns  as cli_link_open, or ST_NOMEM
 */
MUST_USE enum status cli_publisher_open(struct cli_publisher *p,
    size_t max_data, struct errmsg *err);
void cli_publisher_close(struct cli_publisher *p);

/* Queues one event; what is wrong with it is said and counted. */
void cli_publisher_submit(struct cli_publisher *p, uint64_t line,
    struct span data);

/* Says and counts what went wrong with a line (0: the only event there is). */
void cli_publisher_fail(struct cli_publisher *p, uint64_t line, const char *fmt,
    ...) PRINTF_LIKE(3, 4);

/*
 * Sends, and waits for all answers.
 *
 * in       where more events come from, or NULL: only answers are awaited
 *
 * Returns  ST_OK; ST_AGAIN: pubd took too long; ST_END: it has gone;
 *          ST_INVALID, ST_FULL: it speaks in riddles; else the connection or
 *          the input failed
 */
MUST_USE enum status cli_publisher_run(struct cli_publisher *p,
    struct cli_lines *in);

/* Says why it broke off, and what became of the rest. */
void cli_publisher_broke_off(struct cli_publisher *p, enum status st);

#endif
