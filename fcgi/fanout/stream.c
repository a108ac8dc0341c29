/* SPDX-License-Identifier: MIT */
/*
 * Writing to one stream.  Owns what is half out: head_left, rec_left and pend.
 * Never blocks: the descriptor is non-blocking.
 *
 * Invariant: rec_left and head_left say what the peer has been promised, to
 * the byte; with pend, nothing else is half out.
 */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "record.h"

#define PEND_BYTES_MAX 65536 /* control text that waits; a few KiB in fact */

/*
 * One write; SIGPIPE is ignored by the process.  A write that was cut short
 * counts as ST_AGAIN at once: to try again would only be told EAGAIN.
 */
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
 * Puts the header of the record under way, or of a new one, right before the
 * content.  Returns how many of its bytes have to go out: all, none, or, when
 * the last write ended inside it, the last few.
 */
static size_t
lay_header(struct stream *s, struct chunk *r)
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

static int64_t
stream_now_of(struct stream_counters *c)
{
	int64_t now_us = c->now_us;

	if (now_us == 0)
		now_us = (int64_t)clock_mono_us();
	if (c->keep_now)
		c->now_us = now_us;
	return now_us;
}

/*
 * Counts how long the first n marks of a chunk took, which are out now.  What
 * is older than the stream was asked for late and says nothing of delivery.
 */
static void
count_times(const struct stream *s, const struct chunk *r, size_t n,
    struct stream_counters *c)
{
	size_t at = chunk_marks_upto(r, s->born_id), i;
	int64_t now_us;

	if (at >= n)
		return;
	now_us = stream_now_of(c);
	for (i = 0; at < n; i++) {
		size_t end = r->time[i].end < n ? r->time[i].end : n;
		int64_t took_us = now_us - r->time[i].commit_us;

		if (end <= at)
			continue;
		hist_add(&c->delivery, HIST_TIME,
		    took_us < 0 ? 0 : (uint64_t)took_us, end - at);
		at = end;
	}
}

/*
 * `sent` bytes of the chunk's content are out.  This is where a stream's place
 * moves; all the rest here counts.
 */
static void
advance(struct stream *s, const struct chunk *r, size_t sent,
    struct stream_counters *c)
{
	size_t n = chunk_advance(r, sent, &s->place), again;

	if (n == 0)
		return;
	c->n_events += n;
	again = chunk_marks_upto(r, s->sent_id);
	c->n_duplicates += again < n ? again : n;
	if (r->mark[n - 1].id > s->sent_id)
		s->sent_id = r->mark[n - 1].id;
	if (c->timed)
		count_times(s, r, n, c);
}

void
stream_move(struct stream *s, int64_t cursor)
{
	s->place = (struct chunk_place){.cursor = cursor};
	s->sent_id = cursor;
}

enum status
stream_send_chunk(struct stream *s, struct chunk *r, struct stream_counters *c)
{
	size_t head, sent;
	enum status st;

	if (r->len == 0) {
		advance(s, r, 0, c);
		return ST_OK;
	}
	head = lay_header(s, r);
	assert(s->request_id == 0 || r->len <= s->rec_left);
	st = put(s, r->head + RECORD_HEADER_BYTES - head, head + r->len, &sent,
	    c);
	if (sent < head) {
		s->head_left = (uint8_t)(head - sent);
		if (s->head_left == RECORD_HEADER_BYTES) {
			/* Not a byte is out, so nothing was promised: the next
			 * record may be of another length. */
			s->head_left = 0;
			s->rec_left = 0;
		}
		return st;
	}
	s->head_left = 0;
	sent -= head;
	if (s->request_id != 0)
		s->rec_left -= (uint32_t)sent;
	advance(s, r, sent, c);
	return st;
}

/*
 * Keeps control text for later, behind what waits already.  A new block each
 * time: this is rare, and most streams have none.
 */
static enum status
keep(struct stream *s, struct span bytes)
{
	const struct stream_pend *had = s->pend;
	size_t old = had == NULL ? 0 : had->len - had->at;
	struct stream_pend *p;

	if (bytes.len > PEND_BYTES_MAX - old)
		return ST_NOMEM;
	p = malloc(sizeof(*p) + old + bytes.len);
	if (p == NULL)
		return ST_NOMEM;
	if (old > 0)
		memcpy(p->bytes, had->bytes + had->at, old);
	memcpy(p->bytes + old, bytes.p, bytes.len);
	p->at = 0;
	p->len = (uint32_t)(old + bytes.len);
	free(s->pend);
	s->pend = p;
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
	struct stream_pend *p = s->pend;
	enum status st;
	size_t n;

	if (p == NULL)
		return ST_OK;
	st = put(s, p->bytes + p->at, p->len - p->at, &n, c);
	p->at += (uint32_t)n;
	if (p->at == p->len) {
		free(p);
		s->pend = NULL;
	}
	return st;
}
