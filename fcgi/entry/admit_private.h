/* SPDX-License-Identifier: MIT */
/* What admit.c keeps, for it and its test. */
#ifndef WALCAST_ADMIT_PRIVATE_H
#define WALCAST_ADMIT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admit.h"
#include "log.h"
#include "ramp.h"
#include "slots.h"

#define ADMIT_POOLS 8 /* locations with a cap that are remembered */

struct admit {
	struct admit_options o;
	uint64_t random; /* of random_seed */
	struct ramp ramp;
	bool draining;
	struct log_state bad_limit; /* that one is no number */
	struct slots_count pool[ADMIT_POOLS];
	size_t n_pools;
	struct admit_counters counters;
};

#endif
