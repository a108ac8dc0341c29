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

/* Nothing for an empty value. */
static void
put_header(struct buf *out, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	buf_add(out, span_str(name));
	buf_add(out, SPAN(": "));
	buf_add(out, value);
	buf_add(out, SPAN("\r\n"));
}

/*
 * Vary stands there also for an origin that is not allowed: what is said
 * depends on it (Fetch standard, section 3.2.5).  Only an origin that the
 * administrator wrote out may bring its visitors' cookies; conf.c takes
 * neither "null", which any sandboxed page can claim to be, nor * beside it.
 */
void
http_add_cors(struct buf *out, struct span origin)
{
	if (span_eq(origin, SPAN("*"))) {
		put_header(out, "Access-Control-Allow-Origin", origin);
		return;
	}
	buf_add(out, SPAN("Vary: Origin\r\n"));
	put_header(out, "Access-Control-Allow-Origin", origin);
	if (origin.len > 0)
		buf_add(out,
		    SPAN("Access-Control-Allow-Credentials: true\r\n"));
}

/* ... and which headers of the response the page may read. */
static void
put_cors(struct buf *out, struct span origin)
{
	http_add_cors(out, origin);
	if (origin.len > 0)
		put_header(out, "Access-Control-Expose-Headers",
		    SPAN("X-SSE-Stream, Retry-After"));
}

enum status
http_stream_head(struct buf *out, struct span stream, struct span origin)
{
	size_t start = out->len;

	buf_add(out,
	    SPAN("Status: 200 OK\r\n"
		 "Content-Type: text/event-stream\r\n"
		 "Cache-Control: no-store, no-cache, no-transform\r\n"
		 "X-Accel-Buffering: no\r\n"
		 "X-Content-Type-Options: nosniff\r\n"));
	put_header(out, "X-SSE-Stream", stream);
	put_cors(out, origin);
	buf_add(out, SPAN("\r\n"));
	return buf_finish(out, start);
}

static void
put_response_head(struct buf *out, int status, struct span content_type,
    size_t body_len)
{
	buf_addf(out,
	    "Status: %d %s\r\n"
	    "Content-Type: %.*s\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n",
	    status, http_reason(status), (int)content_type.len, content_type.p,
	    body_len);
}

static void
put_problem(struct buf *body, const struct http_error *e)
{
	buf_addf(body,
	    "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,"
	    "\"detail\":",
	    http_reason(e->status), e->status);
	jsontext_add_quoted(body, e->detail);
	buf_add(body, SPAN("}\n"));
}

static void
put_error_head(struct buf *out, const struct http_error *e, struct span origin,
    size_t body_len)
{
	put_response_head(out, e->status, SPAN("application/problem+json"),
	    body_len);
	put_header(out, "Allow", e->allow);
	put_header(out, "WWW-Authenticate", e->challenge);
	put_header(out, "X-SSE-Stream", e->stream);
	if (e->retry_after_s > 0)
		buf_addf(out, "Retry-After: %d\r\n", e->retry_after_s);
	put_cors(out, origin);
	buf_add(out, SPAN("\r\n"));
}

enum status
http_error(struct buf *out, const struct http_error *e, struct span origin,
    bool head_only)
{
	size_t start = out->len;
	struct buf body;

	buf_init(&body, BODY_MAX);
	put_problem(&body, e);
	put_error_head(out, e, origin, body.len);
	buf_note(out, buf_status(&body));
	if (!head_only)
		buf_add_buf(out, &body);
	buf_fini(&body);
	return buf_finish(out, start);
}

enum status
http_preflight(struct buf *out, struct span origin)
{
	size_t start = out->len;

	buf_add(out,
	    SPAN("Status: 204 No Content\r\n"
		 "Allow: " CORS_METHODS "\r\n"
		 "Cache-Control: no-store\r\n"));
	http_add_cors(out, origin);
	if (origin.len > 0)
		buf_add(out,
		    SPAN("Access-Control-Allow-Methods: " CORS_METHODS "\r\n"
			 "Access-Control-Allow-Headers: " CORS_HEADERS "\r\n"
			 "Access-Control-Max-Age: 7200\r\n"));
	buf_add(out, SPAN("\r\n"));
	return buf_finish(out, start);
}

enum status
http_ok(struct buf *out, int status, struct span content_type, struct span body,
    bool head_only)
{
	size_t start = out->len;

	put_response_head(out, status, content_type, body.len);
	buf_add(out, SPAN("\r\n"));
	if (!head_only)
		buf_add(out, body);
	return buf_finish(out, start);
}
