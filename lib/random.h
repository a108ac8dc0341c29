/* SPDX-License-Identifier: MIT */
/* Random numbers for jitter and stream ids.  Not for secrets. */
#ifndef WALCAST_RANDOM_H
#define WALCAST_RANDOM_H

#include <stdint.h>

/* Fills in a seed from the kernel (getrandom(2)). */
uint64_t random_seed(void);

/* The next number of the sequence at *state (splitmix64); never blocks. */
uint64_t random_next(uint64_t *state);

/* Spread `base` evenly over [base - base/4, base + base/4]. */
uint64_t random_jitter(uint64_t *state, uint64_t base);

#endif
