/* SPDX-License-Identifier: MIT */
/*
 * Response headers as a CGI program writes them (RFC 3875 section 6: the
 * first is Status), and error bodies (RFC 9457, application/problem+json).
 * Every block ends with its empty line.  Pure.
 */
#ifndef WALCAST_HTTP_H
#define WALCAST_HTTP_H

#include "buf.h"
#include "span.h"
#include "status.h"

struct http_error {
	int status;            /* 4xx or 5xx */
	struct span detail;    /* what is wrong, and what to do: one sentence */
	struct span allow;     /* for 405; else SPAN_NONE */
	struct span challenge; /* WWW-Authenticate, for 401; else SPAN_NONE */
	struct span stream;    /* X-SSE-Stream, by which the log calls it */
	int retry_after_s;     /* for 429 and 503; 0: none */
};

/* The detail of a 431. */
extern const struct span http_too_many_fields;

/* "Method Not Allowed" for 405; "Error" for what is not in the table. */
const char *http_reason(int status);

/*
 * The head of an event stream.
 *
 * stream   the stream's id, for X-SSE-Stream
 * origin   value for Access-Control-Allow-Origin; SPAN_NONE: no CORS headers
 */
MUST_USE enum status http_stream_head(struct buf *out, struct span stream,
    struct span origin);

/* A whole error response, head and body (no body for HEAD). */
MUST_USE enum status http_error(struct buf *out, const struct http_error *e,
    struct span origin, bool head_only);

/*
 * Adds to a head that is being written (buf_finish) what the Fetch standard
 * (section 3.2) asks for: that the origin may read the response, with cookies
 * if it is not "*".
 *
 * origin   of origin_allowed; SPAN_NONE: it may not
 */
void http_add_cors(struct buf *out, struct span origin);

/* The answer to a CORS preflight (Fetch standard, section 3.2.2). */
MUST_USE enum status http_preflight(struct buf *out, struct span origin);

/* A whole 200 response with Cache-Control: no-store. */
MUST_USE enum status http_ok(struct buf *out, int status,
    struct span content_type, struct span body, bool head_only);

#endif
