/* SPDX-License-Identifier: MIT */
/* What admit.c keeps, for it and its test. */
#ifndef WALCAST_ADMIT_PRIVATE_H
#define WALCAST_ADMIT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "admit.h"
#include "log.h"
#include "ramp.h"
#include "slots.h"

struct entry; /* these two: admit.c */
struct waiting;
TAILQ_HEAD(waiting_list, waiting);

/* Requests that wait for the application, and what they may hold. */
#define ADMIT_WAITING         4096
#define ADMIT_WAITING_ADDRESS 1024
#define ADMIT_WAITING_BYTES   (32 * 1024 * 1024)
#define ADMIT_WAIT_BUCKETS    256

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
	struct entry *current; /* who is being let in; or NULL */
	struct waiting_list waiting;
	size_t n_waiting, waiting_bytes;
	uint32_t n_of_bucket[ADMIT_WAIT_BUCKETS];
};

#endif
