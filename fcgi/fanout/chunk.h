/* SPDX-License-Identifier: MIT */
/*
 * A chunk: the frames that go out together as the content of one record, and
 * where each of them ends, so that after a short write a stream knows how far
 * it has come.  One is filled for each write and forgotten after it.  Pure.
 *
 * A stream keeps no copy of what it could not write.  It keeps a place:
 *
 *	cursor    the last event of which every byte is out
 *	part_id   the next one, if some of its bytes are out
 *	off       how many of them
 *
 * and from there the same text is put together again when there is room.
 *
 * An example, with real bytes (test_stream.c has it as a test).  A stream
 * stands at (6, 0, 0), and three events wait:
 *
 *	event  frame                       bytes  ends at
 *	    7  id: 7\ndata: red\n\n         17       17
 *	    8  id: 8\ndata: yellow\n\n      20       37
 *	    9  id: 9\ndata: green\n\n       19       56
 *
 * The chunk has 56 bytes and a mark at each end.  A record's header, of 8
 * bytes, promises 56, and one write() offers all 64 to the kernel.
 *
 * The kernel takes 40: the header, event 7, and 15 bytes of event 8.
 *
 *	place     (7, 8, 15)   by chunk_advance(32), the mark at 17 being the
 *	                       last that is out: 32 - 17 = 15
 *	rec_left  24           promised, and not sent yet
 *
 * The socket has room again; meanwhile there is an event 10.  The record has
 * to be filled with exactly its 24 bytes, so the chunk is begun with this
 * limit, and `exact`: it skips 15 bytes of event 8, takes the other 5 and the
 * 19 of event 9, and is full; event 10 has to wait for a record of its own.
 * There is no header this time.  The kernel takes 2 bytes:
 *
 *	place     (7, 8, 17)   no mark is out, so only `off` has grown
 *	rec_left  22
 *
 * and then, of a chunk of 22 bytes, all:
 *
 *	place     (9, 0, 0)    both marks are out
 *	rec_left  0            the record is whole: control text may follow,
 *	                       or event 10, in a record of its own
 *
 * Had the kernel taken 5 of the 64, these would be bytes of the header:
 * (6, 0, 0) still, rec_left 56, and 3 bytes of a header that says 56 to send.
 * Had it taken none, nothing would have been promised, and the next record
 * might as well have event 10 in it.
 *
 * An event that is larger than a chunk takes several records.  The first one
 * ends in the middle of the frame: its place is (6, 7, 32768) with rec_left 0.
 * That is why both `off` and rec_left must be 0 before a stream may be sent
 * anything but the rest of that event (stream_at_border).
 */
#ifndef WALCAST_CHUNK_H
#define WALCAST_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"
#include "span.h"

/* More in one record costs memory and gains nothing (docs/BENCHMARKS.md). */
#define CHUNK_CONTENT_BYTES 32768
#define CHUNK_MARKS         2048
#define CHUNK_TIMES         64

/* An event that is in the chunk up to its last byte. */
struct chunk_mark {
	int64_t id;
	size_t end; /* content bytes up to the end of its frame */
};

/*
 * Marks that were committed together, for the delivery times.  When there are
 * more commits than entries, the last entry stands for all that follow.
 */
struct chunk_time {
	int64_t commit_us; /* CLOCK_MONOTONIC; negative: before it began */
	size_t end;        /* marks up to the last of them */
};

struct chunk {
	char head[RECORD_HEADER_BYTES]; /* stands right before content */
	char content[CHUNK_CONTENT_BYTES];
	size_t len;      /* of the content */
	size_t limit;    /* content may grow to this */
	size_t skip;     /* bytes of the first frame that went out before */
	int64_t skip_id; /* the event that it belongs to */
	bool broken;     /* that event is gone: the stream cannot go on */
	bool exact;      /* fill up to the limit, through a frame if need be */
	struct chunk_mark mark[CHUNK_MARKS];
	size_t n_marks;
	struct chunk_time time[CHUNK_TIMES];
	size_t n_times;
	int64_t part_id;    /* the event whose frame is cut at the end; or 0 */
	int64_t scanned_id; /* every event up to here is in the chunk, or is
			       not for this stream */
};

/* How far a stream has come in the text of its events; see above. */
struct chunk_place {
	int64_t cursor;  /* the last event of which all bytes are out */
	int64_t part_id; /* the event of which `off` bytes are out; or 0 */
	uint32_t off;
};

/*
 * Empties the chunk; what is added next continues at `from`.
 *
 * limit   bytes, at most CHUNK_CONTENT_BYTES
 * exact   this is the rest of a record that was promised: fill all of limit
 */
void chunk_begin(struct chunk *r, const struct chunk_place *from, size_t limit,
    bool exact);

/*
 * Adds an event's frame.  Returns false when it did not fit as a whole, and
 * nothing more may be added.  It is left out then; but it is cut to fit when
 * it is the first one (waiting would not make it smaller) or the chunk has to
 * be filled exactly.
 */
bool chunk_add(struct chunk *r, int64_t id, struct span frame,
    int64_t commit_us);

/*
 * Every event up to this one is in the chunk, or is not for this stream: so
 * the cursor passes what a stream does not want, too.
 */
void chunk_scanned(struct chunk *r, int64_t upto);

/*
 * Moves a place on by `sent` bytes of the chunk's content.  The place must be
 * the one that the chunk was begun with.  Returns the number of events whose
 * frames have ended within these bytes.
 */
size_t chunk_advance(const struct chunk *r, size_t sent, struct chunk_place *p);

/* How many of the chunk's marks have ids up to this one. */
size_t chunk_marks_upto(const struct chunk *r, int64_t id);

#endif
