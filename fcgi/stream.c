/* SPDX-License-Identifier: MIT */
/*
 * Writing to one stream.  Owns the bytes of a record that are under way.
 * Never blocks: the descriptor is non-blocking.
 */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

#define PEND_BYTES_MAX 65536 /* control text that waits; a few KiB in fact */

/* One write; SIGPIPE is ignored by the process. */
static enum status
put(struct stream *s, const char *p, size_t len, size_t *n,
    struct stream_counters *c)
{
	ssize_t took;

	*n = 0;
	do
		took = write(s->watch.fd, p, len);
	while (took < 0 && errno == EINTR);
	c->n_writes++;
	if (took < 0)
		return errno == EAGAIN ? ST_AGAIN : ST_END;
	*n = (size_t)took;
	c->n_bytes += (uint64_t)took;
	if (*n == len)
		return ST_OK;
	c->n_short_writes++;
	return ST_AGAIN;
}

/*
 * The header of the record under way, or of a new one, stands right before
 * the content.  Returns how many of its bytes have to go out.
 */
static size_t
lay_header(struct stream *s, struct run *r)
{
	if (s->request_id == 0)
		return 0;
	if (s->rec_left == 0) {
		s->rec_left = (uint32_t)r->len;
		s->head_left = RECORD_HEADER_BYTES;
	}
	if (s->head_left > 0)
		record_encode(r->head, RECORD_STDOUT, s->request_id,
		    s->rec_left);
	return s->head_left;
}

enum status
stream_send_run(struct stream *s, struct run *r, struct stream_counters *c)
{
	size_t head, sent;
	enum status st;

	if (r->len == 0) {
		c->n_events += run_advance(r, 0, &s->place);
		return ST_OK;
	}
	head = lay_header(s, r);
	assert(s->request_id == 0 || r->len <= s->rec_left);
	st = put(s, r->head + RECORD_HEADER_BYTES - head, head + r->len, &sent,
	    c);
	if (sent < head) {
		s->head_left = (uint8_t)(head - sent);
		if (s->head_left == RECORD_HEADER_BYTES) {
			/* Nothing is out: the next record may be another. */
			s->head_left = 0;
			s->rec_left = 0;
		}
		return st;
	}
	s->head_left = 0;
	sent -= head;
	if (s->request_id != 0)
		s->rec_left -= (uint32_t)sent;
	c->n_events += run_advance(r, sent, &s->place);
	return st;
}

/* Keeps bytes for later. */
static enum status
keep(struct stream *s, struct span bytes)
{
	size_t old = s->pend_len - s->pend_at;
	char *p;

	if (bytes.len > PEND_BYTES_MAX - old)
		return ST_NOMEM;
	p = malloc(old + bytes.len);
	if (p == NULL)
		return ST_NOMEM;
	if (old > 0)
		memcpy(p, s->pend + s->pend_at, old);
	memcpy(p + old, bytes.p, bytes.len);
	free(s->pend);
	s->pend = p;
	s->pend_at = 0;
	s->pend_len = (uint32_t)(old + bytes.len);
	return ST_AGAIN;
}

enum status
stream_send_raw(struct stream *s, struct span bytes, struct stream_counters *c)
{
	enum status st;
	size_t n;

	assert(s->pend != NULL || stream_at_border(s));
	if (s->pend != NULL)
		return keep(s, bytes);
	st = put(s, bytes.p, bytes.len, &n, c);
	return st == ST_AGAIN ? keep(s, span_skip(bytes, n)) : st;
}

enum status
stream_send_text(struct stream *s, struct span text, struct stream_counters *c)
{
	char record[RECORD_HEADER_BYTES + 8192];

	if (s->request_id == 0)
		return stream_send_raw(s, text, c);
	assert(text.len <= sizeof(record) - RECORD_HEADER_BYTES);
	record_encode(record, RECORD_STDOUT, s->request_id, text.len);
	memcpy(record + RECORD_HEADER_BYTES, text.p, text.len);
	return stream_send_raw(s,
	    span_of(record, RECORD_HEADER_BYTES + text.len), c);
}

enum status
stream_flush(struct stream *s, struct stream_counters *c)
{
	enum status st;
	size_t n;

	if (s->pend == NULL)
		return ST_OK;
	st = put(s, s->pend + s->pend_at, s->pend_len - s->pend_at, &n, c);
	s->pend_at += (uint32_t)n;
	if (s->pend_at == s->pend_len) {
		free(s->pend);
		s->pend = NULL;
		s->pend_len = s->pend_at = 0;
	}
	return st;
}
