/* SPDX-License-Identifier: MIT */
/*
 * The rules that are in force: `access` and `groups` of the configuration,
 * read at the start and again on HUP.  A broken file keeps the old rules.
 * Blocks on reading two files.
 */
#ifndef WALCAST_ACCESS_FILE_H
#define WALCAST_ACCESS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "access.h"
#include "status.h"

struct conf;

struct access_file {
	struct access *rules; /* NULL: `access` is not set, all is open */
	bool is_set;          /* `access` is set */
	uint32_t edition;     /* grows whenever the rules may have changed */
};

/*
 * The first reading.
 * Returns  ST_OK (also when `access` is not set), ST_INVALID, ST_NOTFOUND,
 *          ST_DENIED, ST_NOMEM: err says "FILE:LINE: what is wrong"
 */
MUST_USE enum status access_file_open(struct access_file *f,
    const struct conf *c, struct errmsg *err);
void access_file_close(struct access_file *f);

/* For -n: as access_file_open; what is odd goes to the log. */
MUST_USE enum status access_file_check(const struct conf *c,
    struct errmsg *err);

/*
 * Again.  On failure the rules stay as they were, and err says why; `access`
 * cannot be unset while a program runs: that, too, is a failure.
 */
MUST_USE enum status access_file_reload(struct access_file *f,
    const struct conf *c, struct errmsg *err);

#endif
