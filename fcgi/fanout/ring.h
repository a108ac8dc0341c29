/* SPDX-License-Identifier: MIT */
/*
 * The newest events of the log as frames: encoded once, shared by all streams,
 * bounded in bytes.  The oldest leave as new ones come.
 *
 * Invariant: every event with an id in (ring_base, ring_head] is in the ring,
 * whatever its channel.  Ids need not be without holes; what is missing in
 * between was never an event of this log, or retention has taken it.
 *
 * So one comparison decides where a stream reads: with its cursor at ring_base
 * or above the ring has all that comes next; below, even by one, it has not,
 * and the stream needs a page of the store.  With a ring of base 40 and head
 * 100, a stream at 40 gets 41 from here; one at 39 lacks 40, which has left.
 *
 * Envelopes are kept only while somebody wants them, so the ring reaches less
 * far back for a stream with envelopes: to ring_envelope_base.  Pure.
 */
#ifndef WALCAST_RING_H
#define WALCAST_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"
#include "store.h"

struct ring;

/* One event in the ring; spans are valid until the next push. */
struct ring_entry {
	int64_t id;
	struct span channel;
	struct span event;
	struct span frame;    /* frame_event */
	struct span envelope; /* frame_envelope; SPAN_NONE when not kept */
	int64_t commit_us;    /* as ring_push was given it */
};

/* max_bytes   all memory that the ring will use */
MUST_USE enum status ring_new(struct ring **out, size_t max_bytes);
void ring_free(struct ring **r);

/* Empties it, head and base are `base`; the next push has a greater id. */
void ring_reset(struct ring *r, int64_t base);

/*
 * Adds an event with an id greater than ring_head.  One that is too large for
 * the ring empties it and becomes its base, since the events before it could
 * not stay without it: every stream that is behind reads it from the store.
 *
 * commit_us  kept with it
 * Returns  ST_OK      it is in
 *          ST_FULL    it did not fit; the ring is empty, base == its id
 *          ST_NOMEM   as ST_FULL
 */
MUST_USE enum status ring_push(struct ring *r, const struct event *e,
    bool with_envelope, int64_t commit_us);

int64_t ring_base(const struct ring *r);
int64_t ring_head(const struct ring *r);

/* Events above this id have their envelope in the ring. */
int64_t ring_envelope_base(const struct ring *r);

/*
 * Entries are numbered; the number of an entry never changes while it is in
 * the ring.  ring_seek gives the first one with an id greater than after_id;
 * ring_end is one past the newest.
 */
uint64_t ring_seek(const struct ring *r, int64_t after_id);
uint64_t ring_first(const struct ring *r); /* number of the oldest */
uint64_t ring_end(const struct ring *r);
void ring_get(const struct ring *r, uint64_t number, struct ring_entry *out);

size_t ring_count(const struct ring *r);
size_t ring_bytes(const struct ring *r);

#endif
