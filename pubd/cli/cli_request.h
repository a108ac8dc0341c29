/* SPDX-License-Identifier: MIT */
/*
 * An event as a request to pubd: what the command line says about all of
 * them, and a line of JSON for each.  Blocks on nothing but stderr.
 */
#ifndef WALCAST_CLI_REQUEST_H
#define WALCAST_CLI_REQUEST_H

#include <stdbool.h>

#include "buf.h"
#include "span.h"
#include "status.h"

/* What the data is: JSON if it is valid JSON, or as the user says. */
enum cli_form { CLI_FORM_AUTO, CLI_FORM_JSON, CLI_FORM_TEXT };

struct cli_request {
	struct span channel;
	struct span event, key, trace; /* empty: none */
	enum cli_form form;
};

/* Can pubd take these names?  Says what is wrong with the first that it cannot.
 */
bool cli_request_names_ok(const struct cli_request *r);

/*
 * Is the data to go as JSON?
 * Returns  ST_OK or ST_INVALID: it cannot go at all, and err says why
 */
MUST_USE enum status cli_request_judge(const struct cli_request *r,
    struct span data, bool *json, struct errmsg *err);

/*
 * Appends the request, a line.
 * Returns  ST_OK, ST_FULL or ST_NOMEM; `out` is then unchanged
 */
MUST_USE enum status cli_request_put(const struct cli_request *r,
    struct buf *out, struct span data, bool json);

#endif
