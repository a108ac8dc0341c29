/* SPDX-License-Identifier: MIT */
/* Random numbers: for jitter and stream ids, and bytes for keys. */
#ifndef WALCAST_RANDOM_H
#define WALCAST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills in a seed from the kernel (getrandom(2)). */
uint64_t random_seed(void);

/* Bytes from the kernel that nobody can guess (getrandom(2)). */
void random_bytes(void *out, size_t n);

/*
 * The next number of the sequence at *state (splitmix64); never blocks.  Not
 * for secrets.
 */
uint64_t random_next(uint64_t *state);

/* Spread `base` evenly over [base - base/4, base + base/4]. */
uint64_t random_jitter(uint64_t *state, uint64_t base);

#endif
