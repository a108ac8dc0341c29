/* SPDX-License-Identifier: MIT */
/* CGI response heads and problem bodies.  Pure; never blocks. */
#include "http.h"

#include "jsontext.h"

#define BODY_MAX (16 * 1024)

/* What a page of another origin may send; the names that EventSource, its
 * replacements, our client and tracing in the page use. */
#define CORS_METHODS "GET, HEAD, OPTIONS"
#define CORS_HEADERS                                                           \
	"Last-Event-ID, Cache-Control, Authorization, traceparent, "           \
	"tracestate, X-Requested-With"

static const char too_many_fields[] =
    "The request has too many header fields, or too long ones: together with "
    "the variables that the web server adds, 255 and 64 KiB are taken. "
    "Cookies count, too.";
const struct span http_too_many_fields = {too_many_fields,
    sizeof(too_many_fields) - 1};

static const struct {
	int status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

const char *
http_reason(int status)
{
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

/* The caller's part of a response; on failure `out` is cut back to here. */
static enum status
settle(struct buf *out, size_t start, enum status st)
{
	if (st != ST_OK)
		buf_truncate(out, start);
	return st;
}

/* Nothing for an empty value. */
static enum status
field(struct buf *out, const char *name, struct span value)
{
	enum status st;

	if (value.len == 0)
		return ST_OK;
	st = buf_append(out, span_str(name));
	if (st == ST_OK)
		st = buf_append(out, SPAN(": "));
	if (st == ST_OK)
		st = buf_append(out, value);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\r\n"));
	return st;
}

/*
 * Vary stands there also for an origin that is not allowed: what is said
 * depends on it (Fetch standard, section 3.2.5).  Only an origin that the
 * administrator wrote out may bring its visitors' cookies; conf.c takes
 * neither "null", which any sandboxed page can claim to be, nor * beside it.
 */
enum status
http_cors(struct buf *out, struct span origin)
{
	size_t start = out->len;
	enum status st;

	if (span_eq(origin, SPAN("*")))
		return field(out, "Access-Control-Allow-Origin", origin);
	st = buf_append(out, SPAN("Vary: Origin\r\n"));
	if (st == ST_OK)
		st = field(out, "Access-Control-Allow-Origin", origin);
	if (st == ST_OK && origin.len > 0)
		st = buf_append(out,
		    SPAN("Access-Control-Allow-Credentials: true\r\n"));
	return settle(out, start, st);
}

/* ... and which headers of the response the page may read. */
static enum status
cors(struct buf *out, struct span origin)
{
	enum status st = http_cors(out, origin);

	if (st == ST_OK && origin.len > 0)
		st = field(out, "Access-Control-Expose-Headers",
		    SPAN("X-SSE-Stream, Retry-After"));
	return st;
}

enum status
http_stream_head(struct buf *out, struct span stream, struct span origin)
{
	size_t start = out->len;
	enum status st;

	st = buf_append(out,
	    SPAN("Status: 200 OK\r\n"
		 "Content-Type: text/event-stream\r\n"
		 "Cache-Control: no-store, no-cache, no-transform\r\n"
		 "X-Accel-Buffering: no\r\n"
		 "X-Content-Type-Options: nosniff\r\n"));
	if (st == ST_OK)
		st = field(out, "X-SSE-Stream", stream);
	if (st == ST_OK)
		st = cors(out, origin);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\r\n"));
	return settle(out, start, st);
}

static enum status
head(struct buf *out, int status, struct span content_type, size_t body_len)
{
	return buf_printf(out,
	    "Status: %d %s\r\n"
	    "Content-Type: %.*s\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n",
	    status, http_reason(status), (int)content_type.len, content_type.p,
	    body_len);
}

static enum status
problem(struct buf *body, const struct http_error *e)
{
	enum status st;

	st = buf_printf(body,
	    "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,"
	    "\"detail\":",
	    http_reason(e->status), e->status);
	if (st == ST_OK)
		st = jsontext_quote(body, e->detail);
	if (st == ST_OK)
		st = buf_append(body, SPAN("}\n"));
	return st;
}

static enum status
error_head(struct buf *out, const struct http_error *e, struct span origin,
    size_t body_len)
{
	enum status st;

	st = head(out, e->status, SPAN("application/problem+json"), body_len);
	if (st == ST_OK)
		st = field(out, "Allow", e->allow);
	if (st == ST_OK && e->retry_after_s > 0)
		st = buf_printf(out, "Retry-After: %d\r\n", e->retry_after_s);
	if (st == ST_OK)
		st = cors(out, origin);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\r\n"));
	return st;
}

enum status
http_error(struct buf *out, const struct http_error *e, struct span origin,
    bool head_only)
{
	size_t start = out->len;
	struct buf body;
	enum status st;

	buf_init(&body, BODY_MAX);
	st = problem(&body, e);
	if (st == ST_OK)
		st = error_head(out, e, origin, body.len);
	if (st == ST_OK && !head_only)
		st = buf_append(out, buf_span(&body));
	buf_fini(&body);
	return settle(out, start, st);
}

enum status
http_preflight(struct buf *out, struct span origin)
{
	size_t start = out->len;
	enum status st;

	st = buf_append(out,
	    SPAN("Status: 204 No Content\r\n"
		 "Allow: " CORS_METHODS "\r\n"
		 "Cache-Control: no-store\r\n"));
	if (st == ST_OK)
		st = http_cors(out, origin);
	if (st == ST_OK && origin.len > 0)
		st = buf_append(out,
		    SPAN("Access-Control-Allow-Methods: " CORS_METHODS "\r\n"
			 "Access-Control-Allow-Headers: " CORS_HEADERS "\r\n"
			 "Access-Control-Max-Age: 7200\r\n"));
	if (st == ST_OK)
		st = buf_append(out, SPAN("\r\n"));
	return settle(out, start, st);
}

enum status
http_ok(struct buf *out, int status, struct span content_type, struct span body,
    bool head_only)
{
	size_t start = out->len;
	enum status st;

	st = head(out, status, content_type, body.len);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\r\n"));
	if (st == ST_OK && !head_only)
		st = buf_append(out, body);
	return settle(out, start, st);
}
