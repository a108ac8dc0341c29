/* SPDX-License-Identifier: MIT */
/* A log in a temporary directory, and somebody who writes to it. */
#ifndef WALCAST_TEST_RIG_LOG_H
#define WALCAST_TEST_RIG_LOG_H

#include "db.h"
#include "span.h"
#include "store.h"

struct rig_log {
	char *tmp;
	char path[256];
	struct store_writer *w;
	struct store_reader *r;
	struct db *sql; /* another program, without checks and triggers */
};

void rig_log_init(struct rig_log *l);
void rig_log_fini(struct rig_log *l);

/* Appends n events with the same data in one transaction. */
void rig_log_add(struct rig_log *l, const char *channel, struct span data,
    int n);

/* Retention: only the newest max_events stay. */
void rig_log_trim(struct rig_log *l, int64_t max_events);

void rig_log_sql(struct rig_log *l, const char *sql);

/* Another log takes its place. */
void rig_log_replace(struct rig_log *l);

#endif
