/* SPDX-License-Identifier: MIT */
/*
 * The streams of the reserved channel system.status: the metrics once a
 * second, for the status page.  They are off the log, so an event has no id
 * and there is nothing to resume.  One look at the metrics serves all streams;
 * nobody looks while there is none.
 *
 * Never blocks.  A reader that has not taken one tick does not get the next:
 * nothing queues, and what a stream can hold is one tick and what ends it.
 */
#ifndef WALCAST_STATUS_STREAM_H
#define WALCAST_STATUS_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "frame.h"
#include "loop.h"
#include "status.h"

#define STATUS_STREAM_MAX 16 /* at once in a process */

struct status_streams;

struct status_stream_options {
	int64_t interval_ms; /* from one look to the next */
	int64_t retry_ms;    /* before jitter */
	/*
	 * Appends the metrics as JSON without line feeds, and fills in head,
	 * oldest, generation and server_time_ms of *open, whose span must
	 * stay valid until the next call.
	 */
	enum status (
	    *look)(void *arg, struct buf *json, struct frame_open *open);
	void *arg;
};

MUST_USE enum status status_streams_new(struct status_streams **out,
    struct loop *l, const struct status_stream_options *o);
void status_streams_free(struct status_streams **ss);

/*
 * Begins a stream on fd, which it takes on ST_OK only.
 *
 * request_id  0: plain CGI, nothing is framed
 * Returns     ST_OK
 *             ST_FULL   there are STATUS_STREAM_MAX, or they are ending
 *             ST_NOMEM  or what look() said
 */
MUST_USE enum status status_streams_open(struct status_streams *ss, int fd,
    uint16_t request_id);

size_t status_streams_count(const struct status_streams *ss);

/* Says control.close to all; they are gone when they have taken it. */
void status_streams_drain(struct status_streams *ss);

/* Frees streams that ended in this turn; after loop_turn(). */
void status_streams_reap(struct status_streams *ss);

#endif
