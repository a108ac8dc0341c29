/* SPDX-License-Identifier: MIT */
/*
 * Requests in their order: their texts, and the line of the input that each
 * comes from.
 */
#ifndef WALCAST_CLI_QUEUE_H
#define WALCAST_CLI_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "span.h"
#include "status.h"

#define CLI_QUEUE_MAX 1024 /* requests */

struct cli_queue {
	struct buf text;
	struct {
		uint64_t line;
		size_t len;
	} list[CLI_QUEUE_MAX];
	size_t first, n;
};

/* max_bytes   bound on all texts together */
void cli_queue_init(struct cli_queue *q, size_t max_bytes);
void cli_queue_fini(struct cli_queue *q);

/* Returns  ST_OK, ST_FULL or ST_NOMEM; the queue is then unchanged */
MUST_USE enum status cli_queue_put(struct cli_queue *q, uint64_t line,
    struct span text);

/* Of the oldest, which must be there; valid until the queue changes. */
uint64_t cli_queue_line(const struct cli_queue *q);
struct span cli_queue_text(const struct cli_queue *q);
void cli_queue_drop(struct cli_queue *q);

/*
 * Moves all of q before those of rest, and leaves q empty.
 * Returns  ST_OK, ST_FULL or ST_NOMEM; both are then unchanged
 */
MUST_USE enum status cli_queue_put_before(struct cli_queue *q,
    struct cli_queue *rest);

#endif
