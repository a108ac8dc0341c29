/* SPDX-License-Identifier: MIT */
/* Asking an application by FastCGI.  Pure. */
#include "app_request.h"

#include <string.h>

#define REQUEST_ID 1

/* ---- asking -------------------------------------------------------------- */

static void
put_length(struct buf *out, size_t n)
{
	char four[4] = {(char)(n >> 24 | 0x80), (char)(n >> 16), (char)(n >> 8),
	    (char)n};
	char one = (char)n;

	if (n < 128)
		buf_add(out, span_of(&one, 1));
	else
		buf_add(out, span_of(four, sizeof(four)));
}

static void
put_record(struct buf *out, enum record_type type, struct span content)
{
	char header[RECORD_HEADER_BYTES];

	record_encode(header, type, REQUEST_ID, content.len);
	buf_add(out, span_of(header, sizeof(header)));
	buf_add(out, content);
}

/* As records of at most RECORD_CONTENT_MAX, and the empty one. */
static void
put_stream(struct buf *out, enum record_type type, struct span content)
{
	while (content.len > 0) {
		struct span part = content;

		if (part.len > RECORD_CONTENT_MAX)
			part.len = RECORD_CONTENT_MAX;
		put_record(out, type, part);
		content = span_skip(content, part.len);
	}
	put_record(out, type, SPAN(""));
}

enum status
app_request_put(struct buf *out, const struct app_param *param, size_t n)
{
	/* A responder; the connection is closed after the answer. */
	static const char begin[8] = {0, 1, 0, 0, 0, 0, 0, 0};
	size_t i, start = out->len;
	struct buf params;

	buf_init(&params, out->max);
	for (i = 0; i < n; i++) {
		struct span name = span_str(param[i].name);

		put_length(&params, name.len);
		put_length(&params, param[i].value.len);
		buf_add(&params, name);
		buf_add(&params, param[i].value);
	}
	put_record(out, RECORD_BEGIN_REQUEST, span_of(begin, sizeof(begin)));
	buf_note(out, buf_finish(&params, 0));
	put_stream(out, RECORD_PARAMS, buf_span(&params));
	put_stream(out, RECORD_STDIN, SPAN(""));
	buf_fini_wiped(&params);
	return buf_finish(out, start);
}

/* ---- the answer ---------------------------------------------------------- */

void
app_response_init(struct app_response *r)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->head, APP_HEAD_MAX);
}

void
app_response_fini(struct app_response *r)
{
	buf_fini(&r->head);
}

/* Where the empty line ends, or 0; lines may end with CR LF or LF. */
static size_t
head_end(struct span s, size_t *head_len)
{
	size_t i;

	for (i = 0; s.p != NULL && i < s.len; i++) {
		size_t next = i + 1;

		if (s.p[i] != '\n')
			continue;
		if (next < s.len && s.p[next] == '\r')
			next++;
		if (next < s.len && s.p[next] == '\n') {
			*head_len = i + 1;
			return next + 1;
		}
	}
	return 0;
}

static enum status
take_stdout(struct app_response *r, struct span s)
{
	size_t before = r->head.len, end, head_len = 0;
	enum status st;

	if (r->head_whole) {
		r->n_body += s.len;
		return r->n_body > APP_BODY_MAX ? ST_INVALID : ST_OK;
	}
	if (s.len > APP_HEAD_MAX - before) {
		r->n_body += s.len - (APP_HEAD_MAX - before);
		s.len = APP_HEAD_MAX - before;
	}
	st = buf_append(&r->head, s);
	if (st != ST_OK)
		return ST_NOMEM;
	end = head_end(buf_span(&r->head), &head_len);
	if (end == 0)
		return r->head.len == APP_HEAD_MAX ? ST_INVALID : ST_OK;
	r->n_body += r->head.len - end;
	buf_truncate(&r->head, head_len);
	r->head_whole = true;
	return r->n_body > APP_BODY_MAX ? ST_INVALID : ST_OK;
}

static enum status
take_content(struct app_response *r, const struct record_header *h,
    struct span s)
{
	size_t i;

	switch (h->type) {
	case RECORD_STDOUT:
		return take_stdout(r, s);
	case RECORD_END_REQUEST:
		for (i = 0; i < s.len && r->n_end_body < 8; i++)
			r->end_body[r->n_end_body++] = (uint8_t)s.p[i];
		return ST_OK;
	default: /* stderr, and what we do not know */
		r->n_stderr += s.len;
		return r->n_stderr > APP_BODY_MAX ? ST_INVALID : ST_OK;
	}
}

/* The record is whole. */
static enum status
end_record(struct app_response *r, const struct record_header *h)
{
	r->n_header = 0;
	if (h->type != RECORD_END_REQUEST)
		return ST_OK;
	if (r->n_end_body < 8)
		return ST_INVALID;
	r->ended = true;
	r->app_status = (uint32_t)r->end_body[0] << 24 |
	    (uint32_t)r->end_body[1] << 16 | (uint32_t)r->end_body[2] << 8 |
	    r->end_body[3];
	r->protocol_status = r->end_body[4];
	return ST_END;
}

static enum status
take_header(struct app_response *r, struct span *bytes)
{
	size_t n = RECORD_HEADER_BYTES - r->n_header;
	struct record_header h;

	if (n > bytes->len)
		n = bytes->len;
	memcpy(r->header + r->n_header, bytes->p, n);
	r->n_header += n;
	*bytes = span_skip(*bytes, n);
	if (r->n_header < RECORD_HEADER_BYTES)
		return ST_OK;
	h = record_decode(span_of(r->header, sizeof(r->header)));
	if (h.version != 1 || h.request_id != REQUEST_ID)
		return ST_INVALID;
	r->content_left = h.content_len;
	r->padding_left = h.padding_len;
	if (r->content_left == 0 && r->padding_left == 0)
		return end_record(r, &h);
	return ST_OK;
}

/* What the record at hand still lacks. */
static enum status
take_rest(struct app_response *r, struct span *bytes)
{
	struct record_header h = record_decode(
	    span_of(r->header, sizeof(r->header)));
	struct span part = *bytes;
	enum status st = ST_OK;

	if (part.len > r->content_left)
		part.len = r->content_left;
	if (part.len > 0)
		st = take_content(r, &h, part);
	r->content_left -= part.len;
	*bytes = span_skip(*bytes, part.len);
	if (r->content_left == 0) {
		size_t n = bytes->len < r->padding_left ? bytes->len
							: r->padding_left;

		r->padding_left -= n;
		*bytes = span_skip(*bytes, n);
	}
	if (st == ST_OK && r->content_left == 0 && r->padding_left == 0)
		st = end_record(r, &h);
	return st;
}

enum status
app_response_take(struct app_response *r, struct span bytes)
{
	enum status st = ST_OK;

	while (st == ST_OK && bytes.len > 0)
		st = r->n_header < RECORD_HEADER_BYTES ? take_header(r, &bytes)
						       : take_rest(r, &bytes);
	return st;
}
