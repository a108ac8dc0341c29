/* SPDX-License-Identifier: MIT */
/* Metrics as decimal numbers, as JSON and Prometheus both read them.  Pure. */
#ifndef WALCAST_DECIMAL_H
#define WALCAST_DECIMAL_H

#include <stdint.h>

#include "buf.h"
#include "status.h"

/*
 * Appends number / per, exactly: 1500 / 1000 is "1.500".
 *
 * number  >= 0
 * per     1 or a product of twos and fives, at most 1000000
 */
void decimal_put(struct buf *out, int64_t number, int64_t per);

/* Appends v to nine digits, without trailing zeros; v is finite and >= 0. */
void decimal_put_double(struct buf *out, double v);

#endif
