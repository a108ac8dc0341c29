/* SPDX-License-Identifier: MIT */
/*
 * FastCGI records (FastCGI Specification 1.0, sections 3.3, 3.5, 5), decoded
 * byte by byte.  Pure.
 *
 * libfcgi crashes or blocks on some of what a peer can send, so a request is
 * handed to it only when record_scan has seen all of it and found nothing
 * that it cannot take.
 */
#ifndef WALCAST_RECORD_H
#define WALCAST_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "span.h"
#include "status.h"

#define RECORD_HEADER_BYTES 8
#define RECORD_CONTENT_MAX  65535
#define RECORD_REQUEST_MAX  (64 * 1024) /* a whole request, in bytes */
#define RECORD_PARAMS_MAX   255         /* parameters in one */
#define RECORD_END_BYTES    (RECORD_HEADER_BYTES * 3) /* see record_end */

enum record_type {
	RECORD_BEGIN_REQUEST = 1,
	RECORD_ABORT_REQUEST = 2,
	RECORD_END_REQUEST = 3,
	RECORD_PARAMS = 4,
	RECORD_STDIN = 5,
	RECORD_STDOUT = 6
};

struct record_header {
	uint8_t version;
	uint8_t type;
	uint16_t request_id;
	uint16_t content_len;
	uint8_t padding_len;
};

/* s.len >= RECORD_HEADER_BYTES */
struct record_header record_decode(struct span s);

/* A header without padding. */
void record_encode(char out[RECORD_HEADER_BYTES], enum record_type type,
    uint16_t request_id, size_t content_len);

/*
 * Appends text as STDOUT records.
 * Returns  ST_OK, ST_FULL or ST_NOMEM; on failure nothing was appended
 */
MUST_USE enum status record_put(struct buf *out, uint16_t request_id,
    struct span text);

/*
 * Appends what is left of a response, none of it or all: `text` as STDOUT
 * records, then record_end with the status 0.
 * Returns  as record_put
 */
MUST_USE enum status record_put_last(struct buf *out, uint16_t request_id,
    struct span text);

/*
 * What ends a response: an empty STDOUT record and END_REQUEST with
 * FCGI_REQUEST_COMPLETE and the given application status.
 */
void record_end(char out[RECORD_END_BYTES], uint16_t request_id,
    uint32_t app_status);

struct record_scan {
	size_t request_bytes; /* ST_OK: the request's length */
	uint16_t request_id;
	bool aborted;       /* ST_OK: its last record is ABORT_REQUEST */
	bool in_params;     /* ST_TOOLARGE: in the parameters, not the body */
	const char *reason; /* ST_INVALID, ST_TOOLARGE: for the log */
};

/*
 * Looks whether `s` begins with one whole request: BEGIN (responder),
 * PARAMS…, empty PARAMS, STDIN…, empty STDIN.
 *
 * Returns  ST_OK        it is there, and well-formed
 *          ST_AGAIN     so far so good, more is to come
 *          ST_INVALID   nothing that we serve
 *          ST_TOOLARGE  past RECORD_REQUEST_MAX or RECORD_PARAMS_MAX;
 *                       request_id is set, except where not even the first
 *                       record is whole
 */
MUST_USE enum status record_scan(struct span s, struct record_scan *out);

#endif
