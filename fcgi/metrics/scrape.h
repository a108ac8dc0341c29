/* SPDX-License-Identifier: MIT */
/*
 * What can be known from the files: the status rows of all processes and the
 * bounds of the log, read anew each time.  Blocks on the disk, and for some
 * milliseconds on a lock; never fails because a file is missing or damaged.
 */
#ifndef WALCAST_SCRAPE_H
#define WALCAST_SCRAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate.h"
#include "buf.h"
#include "status.h"
#include "store.h"

struct scrape {
	struct aggregate *metrics;
	struct store_bounds bounds; /* when store_ok; else zero */
	bool store_ok, status_ok;
	struct errmsg store_error, status_error; /* why not */
	struct buf processes, errors;            /* lists: metrics_json.h */
};

/*
 * database  path of the log
 * now_ms    Unix time
 *
 * Returns  ST_OK or ST_NOMEM; after ST_OK call scrape_fini
 */
MUST_USE enum status scrape_read(struct scrape *s, const char *database,
    int64_t now_ms);
void scrape_fini(struct scrape *s);

/* All metrics as one line of JSON (metrics_json.h), without its line feed. */
MUST_USE enum status scrape_json(const struct scrape *s, struct buf *out);

/* Can the log be read, and is pubd's heartbeat fresh? */
bool scrape_ready(const struct scrape *s);

/* {"ready":…,"reasons":[{"part":"store","reason":…}]} */
MUST_USE enum status scrape_ready_json(const struct scrape *s, struct buf *out);

#endif
