/* SPDX-License-Identifier: MIT */
/* FastCGI records.  Pure. */
#include "record.h"

#define RESPONDER        1
#define BEGIN_BYTES      8
#define FCGI_VERSION     1
#define PAIR_HEAD_BYTES  8
#define HEADER_BYTES_MAX (1u << 20) /* more in one field is no web server */

/* Walks the name-value pairs (section 3.4) over record borders. */
struct pairs {
	unsigned char head[PAIR_HEAD_BYTES]; /* length bytes so far */
	size_t n_head;
	size_t skip; /* bytes of name and value still to come */
	size_t n;    /* begun so far */
};

struct record_header
record_decode(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	return (struct record_header){
	    .version = p[0],
	    .type = p[1],
	    .request_id = (uint16_t)(p[2] << 8 | p[3]),
	    .content_len = (uint16_t)(p[4] << 8 | p[5]),
	    .padding_len = p[6],
	};
}

void
record_encode(char out[RECORD_HEADER_BYTES], enum record_type type,
    uint16_t request_id, size_t content_len)
{
	out[0] = FCGI_VERSION;
	out[1] = (char)type;
	out[2] = (char)(request_id >> 8);
	out[3] = (char)(request_id & 0xff);
	out[4] = (char)(content_len >> 8 & 0xff);
	out[5] = (char)(content_len & 0xff);
	out[6] = 0;
	out[7] = 0;
}

static void
add_stdout(struct buf *out, uint16_t request_id, struct span text)
{
	char header[RECORD_HEADER_BYTES];

	while (text.len > 0) {
		size_t n = text.len < RECORD_CONTENT_MAX ? text.len
							 : RECORD_CONTENT_MAX;

		record_encode(header, RECORD_STDOUT, request_id, n);
		buf_add(out, span_of(header, sizeof(header)));
		buf_add(out, span_of(text.p, n));
		text = span_skip(text, n);
	}
}

enum status
record_put(struct buf *out, uint16_t request_id, struct span text)
{
	size_t start = out->len;

	add_stdout(out, request_id, text);
	return buf_finish(out, start);
}

enum status
record_put_last(struct buf *out, uint16_t request_id, struct span text)
{
	size_t n_records = (text.len + RECORD_CONTENT_MAX - 1) /
	    RECORD_CONTENT_MAX;
	size_t start = out->len;
	char last[RECORD_END_BYTES];

	/* At once: a long response is not copied each time that it grows. */
	buf_note(out,
	    buf_reserve(out,
		text.len + sizeof(last) + n_records * RECORD_HEADER_BYTES));
	add_stdout(out, request_id, text);
	record_end(last, request_id, 0);
	buf_add(out, span_of(last, sizeof(last)));
	return buf_finish(out, start);
}

void
record_end(char out[RECORD_END_BYTES], uint16_t request_id, uint32_t app_status)
{
	char *body = out + 2 * RECORD_HEADER_BYTES;
	int i;

	record_encode(out, RECORD_STDOUT, request_id, 0);
	record_encode(out + RECORD_HEADER_BYTES, RECORD_END_REQUEST, request_id,
	    RECORD_HEADER_BYTES);
	for (i = 0; i < 4; i++)
		body[i] = (char)(app_status >> (24 - 8 * i) & 0xff);
	for (i = 4; i < RECORD_HEADER_BYTES; i++)
		body[i] = 0; /* FCGI_REQUEST_COMPLETE and reserved */
}

static size_t
length_bytes(unsigned char first)
{
	return (first & 0x80) != 0 ? 4 : 1;
}

static size_t
decode_length(const unsigned char *p)
{
	if ((p[0] & 0x80) == 0)
		return p[0];
	return (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 |
	    (size_t)p[2] << 8 | p[3];
}

/*
 * The length bytes of a pair are complete: how much follows them?
 * Returns  ST_OK, ST_TOOLARGE, or ST_INVALID: it lies
 */
static enum status
pair_begins(struct pairs *ps, size_t name_bytes)
{
	size_t name = decode_length(ps->head);
	size_t value = decode_length(ps->head + name_bytes);

	if (name > HEADER_BYTES_MAX || value > HEADER_BYTES_MAX)
		return ST_INVALID;
	if (name + value > RECORD_REQUEST_MAX || ps->n == RECORD_PARAMS_MAX)
		return ST_TOOLARGE;
	ps->n++;
	ps->skip = name + value;
	ps->n_head = 0;
	return ST_OK;
}

/* Returns what pair_begins does. */
static enum status
pairs_feed(struct pairs *ps, struct span content)
{
	enum status st = ST_OK;

	while (st == ST_OK && content.len > 0) {
		size_t name_bytes;

		if (ps->skip > 0) {
			size_t n = ps->skip < content.len ? ps->skip
							  : content.len;

			ps->skip -= n;
			content = span_skip(content, n);
			continue;
		}
		ps->head[ps->n_head++] = (unsigned char)content.p[0];
		content = span_skip(content, 1);
		name_bytes = length_bytes(ps->head[0]);
		if (ps->n_head > name_bytes &&
		    ps->n_head ==
			name_bytes + length_bytes(ps->head[name_bytes]))
			st = pair_begins(ps, name_bytes);
	}
	return st;
}

static bool
pairs_complete(const struct pairs *ps)
{
	return ps->skip == 0 && ps->n_head == 0;
}

/*
 * libfcgi takes the padding of a record after which it changes its state (the
 * first one, and the empty PARAMS) for the next record.
 */
static const char unskipped[] = "padding where libfcgi does not skip it";

enum stage { WANT_BEGIN, WANT_PARAMS, WANT_STDIN, WHOLE };

struct scan {
	enum stage stage;
	struct pairs pairs;
	struct record_scan *out;
};

static enum status
record_refuse(struct scan *sc, const char *reason)
{
	sc->out->reason = reason;
	return ST_INVALID;
}

static enum status
take_begin(struct scan *sc, struct record_header h, struct span content)
{
	if (h.type != RECORD_BEGIN_REQUEST)
		return record_refuse(sc,
		    "it does not begin with BEGIN_REQUEST");
	if (content.len != BEGIN_BYTES || content.p[0] != 0 ||
	    content.p[1] != RESPONDER)
		return record_refuse(sc, "the role is not responder");
	if (h.padding_len > 0)
		return record_refuse(sc, unskipped);
	sc->out->request_id = h.request_id;
	sc->stage = WANT_PARAMS;
	return ST_OK;
}

static enum status
too_large(struct scan *sc, const char *reason)
{
	sc->out->in_params = sc->stage == WANT_PARAMS;
	sc->out->reason = reason;
	return ST_TOOLARGE;
}

static enum status
take_params(struct scan *sc, struct record_header h, struct span content)
{
	enum status st;

	if (h.type != RECORD_PARAMS)
		return record_refuse(sc,
		    "a record other than PARAMS in the params");
	st = pairs_feed(&sc->pairs, content);
	if (st == ST_TOOLARGE)
		return too_large(sc, "too many parameters, or one too long");
	if (st != ST_OK)
		return record_refuse(sc,
		    "a parameter is longer than a request");
	if (content.len > 0)
		return ST_OK;
	if (!pairs_complete(&sc->pairs))
		return record_refuse(sc, "the params end inside a parameter");
	if (h.padding_len > 0)
		return record_refuse(sc, unskipped);
	sc->stage = WANT_STDIN;
	return ST_OK;
}

static enum status
take_record(struct scan *sc, struct record_header h, struct span content)
{
	if (sc->stage == WANT_BEGIN)
		return take_begin(sc, h, content);
	if (h.request_id != sc->out->request_id)
		return record_refuse(sc, "two requests on one connection");
	if (h.type == RECORD_ABORT_REQUEST) {
		sc->out->aborted = true;
		sc->stage = WHOLE;
		return ST_OK;
	}
	if (sc->stage == WANT_PARAMS)
		return take_params(sc, h, content);
	if (h.type != RECORD_STDIN)
		return record_refuse(sc,
		    "a record other than STDIN in the body");
	if (content.len == 0)
		sc->stage = WHOLE;
	return ST_OK;
}

static enum status
check_header(struct scan *sc, struct record_header h)
{
	if (h.version != FCGI_VERSION)
		return record_refuse(sc, "not FastCGI version 1");
	if (h.request_id == 0)
		return record_refuse(sc, "a management record");
	return ST_OK;
}

/* What lies behind the whole request: nothing, or an abort of it. */
static enum status
check_rest(struct scan *sc, struct span rest)
{
	struct record_header h;

	if (rest.len == 0)
		return ST_OK;
	if (rest.len >= RECORD_HEADER_BYTES) {
		h = record_decode(rest);
		if (h.type == RECORD_ABORT_REQUEST) {
			sc->out->aborted = true;
			return ST_OK;
		}
	}
	return record_refuse(sc, "bytes after the end of the request");
}

enum status
record_scan(struct span s, struct record_scan *out)
{
	struct scan sc = {.stage = WANT_BEGIN, .out = out};
	struct span left = s;
	enum status st;

	*out = (struct record_scan){0};
	while (sc.stage != WHOLE) {
		struct record_header h;
		size_t whole;

		if (left.len < RECORD_HEADER_BYTES)
			break;
		h = record_decode(left);
		st = check_header(&sc, h);
		if (st != ST_OK)
			return st;
		whole = RECORD_HEADER_BYTES + (size_t)h.content_len +
		    h.padding_len;
		if (left.len < whole)
			break;
		st = take_record(&sc, h,
		    span_of(left.p + RECORD_HEADER_BYTES, h.content_len));
		if (st != ST_OK)
			return st;
		left = span_skip(left, whole);
	}
	if (sc.stage == WHOLE) {
		out->request_bytes = s.len - left.len;
		return check_rest(&sc, left);
	}
	if (s.len < RECORD_REQUEST_MAX)
		return ST_AGAIN;
	return too_large(&sc, "a request of more than 64 KiB");
}
