/* SPDX-License-Identifier: MIT */
/*
 * Frames that go out together as the content of one record: their text, and
 * where each ends, so that after a short write a stream knows how far it has
 * come.  Reused for every write.  Pure.
 */
#ifndef WALCAST_RUN_H
#define WALCAST_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"
#include "span.h"

/* More in one record costs memory and gains nothing (docs/BENCHMARKS.md). */
#define RUN_CONTENT_BYTES 32768
#define RUN_MARKS         2048
#define RUN_TIMES         64

struct run_mark {
	int64_t id;
	size_t end; /* content bytes up to the end of this event's frame */
};

/* Marks that were committed together; the last one takes all the rest. */
struct run_time {
	int64_t commit_us; /* CLOCK_MONOTONIC; negative: before it began */
	size_t end;        /* marks up to the last of them */
};

struct run {
	char head[RECORD_HEADER_BYTES]; /* stands right before content */
	char content[RUN_CONTENT_BYTES];
	size_t len;      /* of the content */
	size_t limit;    /* content may grow to this */
	size_t skip;     /* bytes of the first frame that went out before */
	int64_t skip_id; /* whose frame that is */
	bool broken;     /* that event is not there any more */
	bool exact;      /* fill up to the limit, through a frame if need be */
	struct run_mark mark[RUN_MARKS];
	size_t n_marks;
	struct run_time time[RUN_TIMES];
	size_t n_times;
	int64_t part_id;    /* the event whose frame is cut at the end; or 0 */
	int64_t scanned_id; /* all events up to here are in it or unwanted */
};

/* How far a stream has come in the text of its events. */
struct run_place {
	int64_t cursor;  /* the last event of which all bytes are out */
	int64_t part_id; /* the event of which `off` bytes are out; or 0 */
	uint32_t off;
};

/*
 * limit   bytes, at most RUN_CONTENT_BYTES
 * exact   the rest of a record that was promised: fill all of limit
 */
void run_begin(struct run *r, const struct run_place *from, size_t limit,
    bool exact);

/*
 * Adds an event's frame.  Returns false when it did not fit as a whole; then
 * it is left out, or cut where it is the first or the run is exact.
 */
bool run_add(struct run *r, int64_t id, struct span frame, int64_t commit_us);

/* All events up to this one are in the run, or unwanted. */
void run_scanned(struct run *r, int64_t upto);

/*
 * Moves a place on by `sent` bytes of the run's content.  Returns the number
 * of events whose frames are out with them.
 */
size_t run_advance(const struct run *r, size_t sent, struct run_place *p);

/* How many of the run's marks have ids up to this one. */
size_t run_marks_upto(const struct run *r, int64_t id);

#endif
