/* SPDX-License-Identifier: MIT */
/*
 * The commands' connection to pubd: opening it while pubd is busy, and one
 * question with its answer.  Waits, but not beyond a deadline.
 */
#ifndef WALCAST_CLI_LINK_H
#define WALCAST_CLI_LINK_H

#include "sock_client.h"
#include "span.h"
#include "status.h"
#include "value.h"
#include "wire.h"

/*
 * max_out      bound on the bytes that wait to be sent
 * deadline_us  monotonic; until then a full queue is tried again
 *
 * Returns  ST_OK, or as sock_connect_unix, with err saying what to do
 */
MUST_USE enum status cli_link_open(struct sock_client *c, const char *path,
    size_t max_out, uint64_t deadline_us, struct errmsg *err);

struct cli_answer {
	struct wire_answer a; /* into the other two */
	struct sock_client client;
	struct values values;
};

/*
 * Connects, sends a request and waits for its answer.  To be freed by
 * cli_answer_fini, however this ends.
 *
 * Returns  ST_OK, ST_AGAIN (there was none in time), else as sock_client.h;
 *          err says what happened
 */
MUST_USE enum status cli_link_ask(const char *path, struct span request,
    uint64_t timeout_us, struct cli_answer *out, struct errmsg *err);
void cli_answer_fini(struct cli_answer *a);

#endif
