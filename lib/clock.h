/* SPDX-License-Identifier: MIT */
/*
 * The only place that asks the kernel for the time.  Everything else takes
 * it as an argument, so that timers are tested without sleeping.
 */
#ifndef WALCAST_CLOCK_H
#define WALCAST_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds: for deadlines and durations. */
uint64_t clock_mono_us(void);

/* CLOCK_REALTIME in milliseconds since 1970: for what people read. */
int64_t clock_real_ms(void);

#endif
