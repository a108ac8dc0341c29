/* SPDX-License-Identifier: MIT */
/*
 * Slots that all worker processes of one user share: so many streams behind
 * one front end, so many from one address.  A slot is a byte of a file
 * (slots_file.h), held by an open-file-description lock (fcntl(2),
 * F_OFD_SETLK): when a process dies, however it dies, the kernel lets go of
 * its slots.
 */
#ifndef WALCAST_SLOTS_H
#define WALCAST_SLOTS_H

#include <stdint.h>

#include "slots_file.h"
#include "span.h"
#include "status.h"

#define SLOT_NONE          (-1)
#define SLOTS_LOWEST_FIRST 1024

struct slots;

/*
 * note     says why slots are not shared with other workers, if they are not
 * Returns  ST_OK, ST_NOMEM, ST_IO
 */
MUST_USE enum status slots_open(struct slots **out,
    const struct slots_place *place, struct errmsg *note);
void slots_close(struct slots **s);

/*
 * The pool of a name, the same in all workers.  Two names may share one by
 * chance, once in 2^31; nobody outside can find out which.
 */
uint32_t slots_key(const struct slots *s, struct span kind, struct span name);

/*
 * Takes one of the first `max` slots of a pool: the lowest that is free, so
 * that who asks with a smaller max sees how many are taken; any one when max
 * is above SLOTS_LOWEST_FIRST.
 *
 * Returns  ST_OK, ST_FULL (all are taken), ST_NOMEM, ST_IO
 */
MUST_USE enum status slots_take(struct slots *s, uint32_t key, int64_t max,
    int32_t *slot);
void slots_give(struct slots *s, uint32_t key, int32_t slot);

/*
 * How many of the first `max` slots of a pool are taken, by whom ever.  The
 * kernel is asked for one row of them after the other, so counting goes on
 * over several calls, and `taken` is what the last whole count came to.
 */
struct slots_count {
	uint32_t key;
	int64_t max;
	int64_t taken; /* -1: not counted yet */
	int64_t at;    /* of the count under way: the next slot, */
	int64_t so_far;
};

struct slots_count slots_count_begin(uint32_t key, int64_t max);

/* Goes on counting until then (monotonic), at least for one row. */
void slots_count_go(struct slots *s, struct slots_count *c, uint64_t until_us);

#endif
