/* SPDX-License-Identifier: MIT */
/*
 * One request to an application that speaks FastCGI (Specification 1.0), such
 * as php-fpm: this side asks, which record.h does not.  The head of its answer
 * is kept; of the body nothing is wanted.  Pure.
 */
#ifndef WALCAST_APP_REQUEST_H
#define WALCAST_APP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"
#include "span.h"
#include "status.h"

#define APP_HEAD_MAX (16 * 1024)  /* of an answer */
#define APP_BODY_MAX (256 * 1024) /* is read away; more is nonsense */

struct app_param {
	const char *name;
	struct span value;
};

/*
 * Appends a whole request without a body.
 * Returns  ST_OK, ST_NOMEM, ST_FULL (it does not fit into `out`)
 */
MUST_USE enum status app_request_put(struct buf *out,
    const struct app_param *param, size_t n);

struct app_response {
	struct buf head; /* up to its empty line, which is not in it */
	bool head_whole;
	size_t n_body, n_stderr;
	bool ended;          /* END_REQUEST has come */
	uint32_t app_status; /* what the script exited with */
	uint8_t protocol_status;
	/* The record under way. */
	char header[RECORD_HEADER_BYTES];
	size_t n_header;
	size_t content_left, padding_left;
	uint8_t end_body[8];
	size_t n_end_body;
};

void app_response_init(struct app_response *r);
void app_response_fini(struct app_response *r);

/*
 * Takes what has come, in pieces of any size.
 * Returns  ST_OK (more is to come), ST_END (it is whole), ST_INVALID (no answer
 *          that we understand, or too long), ST_NOMEM
 */
MUST_USE enum status app_response_take(struct app_response *r,
    struct span bytes);

#endif
