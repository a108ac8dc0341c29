/* SPDX-License-Identifier: MIT */
/*
 * Slots that all worker processes of one user share: so many streams behind
 * one front end, so many from one address.  A slot is a byte of a file in
 * shared memory, held by an open-file-description lock (fcntl(2),
 * F_OFD_SETLK): when a process dies, however it dies, the kernel lets go of
 * its slots.
 */
#ifndef WALCAST_SLOTS_H
#define WALCAST_SLOTS_H

#include <stdint.h>

#include "span.h"
#include "status.h"

#define SLOT_NONE (-1)

struct slots;

/* database   whose slots they are: its path names the file */
MUST_USE enum status slots_open(struct slots **out, const char *database,
    struct errmsg *err);
void slots_close(struct slots **s);

/* The pool of a name.  Two names may share one by chance, once in 2^31. */
uint32_t slots_key(struct span kind, struct span name);

/*
 * Takes one of the first `max` slots of a pool.
 * Returns  ST_OK, ST_FULL (all are taken), ST_NOMEM, ST_IO
 */
MUST_USE enum status slots_take(struct slots *s, uint32_t key, int64_t max,
    int32_t *slot);
void slots_give(struct slots *s, uint32_t key, int32_t slot);

#endif
