/* SPDX-License-Identifier: MIT */
/*
 * A connection to pubd as its clients see it: lines out, lines in, nothing
 * waits but cli_link_open and cli_link_ask, and those not beyond their
 * deadline.
 */
#ifndef WALCAST_CLI_LINK_H
#define WALCAST_CLI_LINK_H

#include "buf.h"
#include "linesplit.h"
#include "span.h"
#include "status.h"

struct json;

struct cli_link {
	int fd; /* -1 when closed */
	struct buf out;
	struct buf in;
	struct linesplit lines; /* of `in` */
};

/*
 * max_out      bound on the bytes that wait to be sent
 * deadline_us  monotonic; until then a full queue is tried again
 *
 * Returns  ST_OK, or as sock_connect_unix, with err saying what to do
 */
MUST_USE enum status cli_link_open(struct cli_link *l, const char *path,
    size_t max_out, uint64_t deadline_us, struct errmsg *err);
void cli_link_close(struct cli_link *l);

/*
 * Writes what goes.
 * Returns  ST_OK (nothing is left), ST_AGAIN, ST_END (pubd has gone), ST_IO
 */
MUST_USE enum status cli_link_flush(struct cli_link *l);

/*
 * Reads once.
 * Returns  ST_OK, ST_AGAIN, ST_END (pubd has closed), ST_FULL (a line that is
 *          no answer of pubd's), ST_NOMEM, ST_IO
 */
MUST_USE enum status cli_link_receive(struct cli_link *l);

/*
 * The next line, without its end; valid until the next call on the link.
 * Returns  ST_OK or ST_AGAIN
 */
MUST_USE enum status cli_link_line(struct cli_link *l, struct span *line);

/*
 * Connects, asks one thing, and waits for the answer.
 *
 * timeout_us  for all of it
 * answer      to be freed with json_free
 *
 * Returns  ST_OK, else as above; err then says what happened
 */
MUST_USE enum status cli_link_ask(const char *path, struct span request,
    uint64_t timeout_us, struct json **answer, struct errmsg *err);

/* How long poll(2) may wait for a deadline. */
int cli_link_poll_ms(uint64_t deadline_us);

#endif
