/* SPDX-License-Identifier: MIT */
/*
 * A chunk of frames.  Invariants: the ends of the marks rise, none is beyond
 * len; len is never beyond limit; and with part_id set, len == limit.  Pure.
 */
#include "chunk.h"

#include <assert.h>
#include <string.h>

void
chunk_begin(struct chunk *r, const struct chunk_place *from, size_t limit,
    bool exact)
{
	r->len = 0;
	r->limit = limit < CHUNK_CONTENT_BYTES ? limit : CHUNK_CONTENT_BYTES;
	r->skip = from->off;
	r->skip_id = from->part_id;
	r->broken = false;
	r->exact = exact;
	r->n_marks = 0;
	r->n_times = 0;
	r->part_id = 0;
	r->scanned_id = from->cursor;
}

static void
copy(struct chunk *r, const char *p, size_t n)
{
	memcpy(r->content + r->len, p, n);
	r->len += n;
}

/* The frame that was just copied is in the chunk up to its end. */
static void
add_mark(struct chunk *r, int64_t id, int64_t commit_us)
{
	size_t n = r->n_times;

	r->mark[r->n_marks++] = (struct chunk_mark){id, r->len};
	if (n == 0 ||
	    (r->time[n - 1].commit_us != commit_us && n < CHUNK_TIMES))
		r->time[r->n_times++].commit_us = commit_us;
	r->time[r->n_times - 1].end = r->n_marks;
}

bool
chunk_add(struct chunk *r, int64_t id, struct span frame, int64_t commit_us)
{
	size_t room = r->limit - r->len;

	if (r->n_marks == CHUNK_MARKS || room == 0)
		return false;
	if (r->skip > 0) {
		/* A client that has half of one event cannot be sent another
		 * one's second half. */
		if (id != r->skip_id || r->skip >= frame.len) {
			r->broken = true;
			return false;
		}
		frame = span_skip(frame, r->skip);
		r->skip = 0;
	}
	if (frame.len > room) {
		if (!r->exact && r->len > 0)
			return false;
		copy(r, frame.p, room);
		r->part_id = id; /* has no mark: it does not end here */
		return false;
	}
	copy(r, frame.p, frame.len);
	add_mark(r, id, commit_us);
	r->scanned_id = id;
	return true;
}

void
chunk_scanned(struct chunk *r, int64_t upto)
{
	r->scanned_id = upto;
	if (r->skip > 0 && upto >= r->skip_id)
		r->broken = true;
}

/* The last mark whose frame ends within `sent` bytes; NULL when none does. */
static const struct chunk_mark *
last_whole(const struct chunk *r, size_t sent)
{
	size_t lo = 0, hi = r->n_marks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->mark[mid].end <= sent)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo == 0 ? NULL : &r->mark[lo - 1];
}

size_t
chunk_advance(const struct chunk *r, size_t sent, struct chunk_place *p)
{
	const struct chunk_mark *m = last_whole(r, sent);
	size_t whole = 0, next = 0;

	assert(sent <= r->len);
	/*
	 * A frame has ended: from here `off` counts bytes of the next one.  If
	 * none has, the same event is still under way, and the bytes add up.
	 */
	if (m != NULL) {
		p->cursor = m->id;
		p->off = 0;
		whole = m->end;
		next = (size_t)(m - r->mark) + 1;
	}
	p->off += (uint32_t)(sent - whole);
	if (p->off == 0)
		p->part_id = 0;
	else if (sent > whole)
		p->part_id = next < r->n_marks ? r->mark[next].id : r->part_id;
	/*
	 * All of it is out, so the place may pass the events behind the last
	 * frame that were not for this stream.  An empty chunk does so, too,
	 * even while an event is half out: then only the search for it goes on.
	 */
	if (sent == r->len && r->part_id == 0)
		p->cursor = r->scanned_id;
	return next;
}

size_t
chunk_marks_upto(const struct chunk *r, int64_t id)
{
	size_t lo = 0, hi = r->n_marks;

	if (hi == 0 || id < r->mark[0].id)
		return 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->mark[mid].id <= id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}
