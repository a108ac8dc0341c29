/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as FastCGI records: the scan reads nothing that is not there, how
 * the bytes arrive in pieces does not change what it finds, and what it lets
 * through libfcgi parses to the end without harm, to the parameters that a
 * second reading finds there.  Any bytes as a response: its records hold them.
 */
#include "record.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgx.h"
#include "fuzz.h"

static enum status
scan(const uint8_t *data, size_t size, struct record_scan *out)
{
	char *exact = malloc(size > 0 ? size : 1);
	enum status st;

	MUST(exact != NULL);
	if (size > 0)
		memcpy(exact, data, size);
	st = record_scan(span_of(exact, size), out);
	free(exact);
	return st;
}

#define BODY_KEPT 64

/* ---- the request, read once more --------------------------------------- */

struct second {
	struct buf params, body; /* content of the records, joined */
	struct buf text;         /* the parameters as variables */
};

static void
put(struct buf *b, struct span s)
{
	MUST(buf_append(b, s) == ST_OK);
}

/* Takes a length of FastCGI's, of one byte or of four, off the front. */
static size_t
take_length(struct span *rest)
{
	const unsigned char *p = (const unsigned char *)rest->p;
	size_t n = 1, length;

	MUST(rest->len > 0);
	length = p[0];
	if (p[0] > 127) {
		n = 4;
		MUST(rest->len >= n);
		length = (p[0] - 128u) * 16777216u + p[1] * 65536u +
		    p[2] * 256u + p[3];
	}
	*rest = span_skip(*rest, n);
	return length;
}

static struct span
take_bytes(struct span *rest, size_t n)
{
	struct span taken = span_of(rest->p, n);

	MUST(n <= rest->len);
	if (n > 0)
		*rest = span_skip(*rest, n);
	return taken;
}

/* libfcgi makes C strings of them. */
static void
put_variable(struct buf *text, struct span name, struct span value)
{
	const char *nul = span_find(name, '\0');

	if (nul != NULL) {
		put(text, span_of(name.p, (size_t)(nul - name.p)));
		return;
	}
	put(text, name);
	put(text, SPAN("="));
	nul = span_find(value, '\0');
	if (nul != NULL)
		value.len = (size_t)(nul - value.p);
	put(text, value);
}

static void
second_reading(struct second *x, struct span records)
{
	struct span rest;

	while (records.len > 0) {
		const unsigned char *h = (const unsigned char *)records.p;
		size_t n = h[4] * 256u + h[5];
		struct span content;

		(void)take_bytes(&records, RECORD_HEADER_BYTES);
		content = take_bytes(&records, n);
		(void)take_bytes(&records, h[6]);
		if (h[1] == RECORD_PARAMS)
			put(&x->params, content);
		if (h[1] == RECORD_STDIN)
			put(&x->body, content);
	}
	put(&x->text, SPAN("FCGI_ROLE=RESPONDER"));
	rest = buf_span(&x->params);
	while (rest.len > 0) {
		size_t name = take_length(&rest), value = take_length(&rest);
		struct span n = take_bytes(&rest, name);

		put_variable(&x->text, n, take_bytes(&rest, value));
	}
}

static void
check_second(const uint8_t *data, size_t size, const struct params *params)
{
	static struct second x;
	struct span body;

	if (x.text.max == 0) {
		buf_init(&x.params, 1 << 20);
		buf_init(&x.body, 1 << 20);
		buf_init(&x.text, 1 << 20);
	}
	buf_clear(&x.params);
	buf_clear(&x.body);
	buf_clear(&x.text);
	second_reading(&x, fuzz_span(data, size));
	MUST(span_eq(buf_span(&params->text), buf_span(&x.text)));
	body = buf_span(&x.body);
	if (body.len > BODY_KEPT)
		body.len = BODY_KEPT;
	MUST(span_eq(params_body(params), body));
}

/* ---- libfcgi ----------------------------------------------------------- */

/* Nothing may be left in the socket: a close would reset it. */
static void
feed_libfcgi(const uint8_t *data, size_t size)
{
	static struct params params;
	static bool ready;
	enum status st;
	char byte;
	int fds[2];

	if (!ready)
		MUST(fcgx_init() == ST_OK);
	ready = true;
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	MUST(write(fds[1], data, size) == (ssize_t)size);
	params_init(&params);
	params_keep_body(&params, BODY_KEPT);
	st = fcgx_read(fds[0], &params);
	MUST(st == ST_OK || st == ST_INVALID || st == ST_FULL);
	MUST(params_body(&params).len <= BODY_KEPT);
	if (st == ST_OK) {
		MUST(read(fds[0], &byte, 1) == -1);
		check_second(data, size, &params);
	}
	params_fini(&params);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
check_pieces(const uint8_t *data, size_t size, enum status st, size_t whole)
{
	struct record_scan part;
	size_t cut;

	for (cut = size; cut > 0 && size - cut < 64;) {
		enum status before = scan(data, --cut, &part);

		if (st == ST_AGAIN || (st == ST_OK && cut < whole))
			MUST(before == ST_AGAIN);
	}
}

/* ---- responses --------------------------------------------------------- */

/* Text as records and the end behind it: the text is what they hold. */
static void
check_response(const uint8_t *data, size_t size)
{
	static struct buf out;
	char end[RECORD_END_BYTES];
	uint16_t id = (uint16_t)(size + 1);
	struct span text = fuzz_span(data, size), rest, content;
	struct record_header h;

	if (out.max == 0)
		buf_init(&out, 1 << 24);
	buf_clear(&out);
	MUST(record_put(&out, id, text) == ST_OK);
	record_end(end, id, (uint32_t)size);
	put(&out, span_of(end, sizeof(end)));
	for (rest = buf_span(&out);;) {
		h = record_decode(rest);
		MUST(h.version == 1 && h.request_id == id);
		MUST(h.padding_len == 0);
		(void)take_bytes(&rest, RECORD_HEADER_BYTES);
		content = take_bytes(&rest, h.content_len);
		if (h.type == RECORD_END_REQUEST)
			break;
		MUST(h.type == RECORD_STDOUT);
		MUST(content.len > 0 || text.len == 0); /* empty: the end */
		MUST(span_eq(take_bytes(&text, content.len), content));
	}
	MUST(text.len == 0 && rest.len == 0 && content.len == 8);
	MUST((unsigned char)content.p[3] == (size & 0xff));
	MUST(content.p[4] == 0); /* FCGI_REQUEST_COMPLETE */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_scan out;
	enum status st = scan(data, size, &out);

	switch (st) {
	case ST_OK:
		MUST(out.request_id != 0);
		MUST(out.request_bytes >= 2 * RECORD_HEADER_BYTES);
		MUST(out.request_bytes <= size);
		if (!out.aborted)
			feed_libfcgi(data, size);
		break;
	case ST_AGAIN:
		MUST(size < RECORD_REQUEST_MAX);
		break;
	default:
		MUST(st == ST_INVALID || st == ST_TOOLARGE);
		MUST(out.reason != NULL);
		break;
	}
	check_pieces(data, size, st, out.request_bytes);
	check_response(data, size);
	return 0;
}
