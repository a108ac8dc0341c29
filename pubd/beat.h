/* SPDX-License-Identifier: MIT */
/*
 * What pubd counts, and the status table that it writes: its own row each
 * second, and the rows that the workers report.  The table is soft: when it
 * cannot be written that is logged, and nothing else suffers.
 */
#ifndef WALCAST_BEAT_H
#define WALCAST_BEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "protocol.h"
#include "span.h"
#include "status.h"

#define BEAT_US       1000000
#define BEAT_LEASE_MS 10000

struct statusdb;
struct statusdb_row;

struct beat_counters {
	uint64_t events_published;          /* stored; duplicates are not */
	uint64_t errors[PROTOCOL_N_ERRORS]; /* answered, by code */
	uint64_t commits;
	uint64_t batch_events_max;
	uint64_t events_trimmed;
	uint64_t connections_total;
};

struct beat_gauges {
	int64_t head;
	size_t connections, watchers;
	int64_t log_bytes, wal_bytes;
};

struct beat {
	struct statusdb *db; /* NULL: not open */
	const char *log_path;
	char name[64];
	int64_t pid, started_ms;
	enum status why;   /* the last outcome */
	uint64_t retry_us; /* when to open it again */
	struct beat_counters n;
	struct log_gate gate;
};

/* log_path   must outlive it */
void beat_init(struct beat *b, const char *log_path, int64_t pid,
    int64_t now_ms);

/* Says goodbye in the table and closes it. */
void beat_fini(struct beat *b);

/* Writes pubd's row and lets rows expire whose lease has passed. */
void beat_write(struct beat *b, const struct beat_gauges *g, uint64_t now_us,
    int64_t now_ms);

/* A worker's report; seen now, with a lease. */
void beat_report(struct beat *b, const struct statusdb_row *row,
    uint64_t now_us, int64_t now_ms);

/* A worker's connection has ended. */
void beat_gone(struct beat *b, struct span name, uint64_t now_us);

#endif
