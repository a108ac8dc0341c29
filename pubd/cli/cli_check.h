/* SPDX-License-Identifier: MIT */
/*
 * What `walcast status --check` says, as monitoring plugins say it
 * (Monitoring Plugins Development Guidelines, sections 2.1 to 2.6): one line
 * of state, words and performance data.  Pure.
 */
#ifndef WALCAST_CLI_CHECK_H
#define WALCAST_CLI_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

/* X(MEMBER): its number is the exit status, too. */
#define CHECK_LEVELS(X) X(OK) X(WARNING) X(CRITICAL) X(UNKNOWN)

enum check_level {
#define X(member) CHECK_##member,
	CHECK_LEVELS(X)
#undef X
};

/* What has limits: X(MEMBER, word in options and performance data). */
#define CHECK_METRIC_LIST(X)                                                   \
	X(AGE, "age")   /* of pubd's heartbeat, milliseconds */                \
	X(PING, "ping") /* of pubd's last good answer, milliseconds */         \
	X(LAG, "lag")   /* of the stream that is furthest behind, events */    \
	X(DISK, "disk") /* free room, bytes */                                 \
	X(WAL, "wal")   /* size, bytes */                                      \
	X(FDS, "fds")   /* of the process that is nearest to its limit, % */   \
	X(WORKERS, "workers") /* that run */

enum check_metric {
#define X(member, word) CHECK_##member,
	CHECK_METRIC_LIST(X)
#undef X
	    CHECK_METRICS
};

#define CHECK_PROBLEM_BYTES 512 /* each; a longer one is cut */
#define CHECK_PROBLEMS      16

struct check {
	/* For a warning, and critical; in the unit of the option, 0: none. */
	int64_t limit[CHECK_METRICS][2];
	int64_t value[CHECK_METRICS];
	bool known[CHECK_METRICS];
	struct check_problem {
		enum check_level level;
		char text[CHECK_PROBLEM_BYTES];
	} problem[CHECK_PROBLEMS];
	int n_problems;
};

/* With the limits that hold when none are given. */
void check_init(struct check *c);

/*
 * Takes an option such as "warn-lag", without dashes.
 *
 * Returns  false when there is none of that name, or when the value is not a
 *          whole number from 0 on that its unit lets be; nothing was changed
 */
bool check_option(struct check *c, const char *name, const char *value);

static inline void
check_set(struct check *c, enum check_metric f, int64_t value)
{
	c->value[f] = value;
	c->known[f] = true;
}

/* Something without a metric is wrong; what there is no room for is lost. */
void check_problem(struct check *c, enum check_level level, const char *fmt,
    ...) PRINTF_LIKE(3, 4);

/*
 * Appends "WALCAST STATE - words | metrics", without a newline; `well` stands
 * for the words when nothing is wrong.  The worst problem comes first and
 * says the state.  Metrics that are not known are left out.  Once only.
 *
 * more     further performance data, "name=value name=value"
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status check_put(struct check *c, const char *well,
    const char *more, struct buf *out, enum check_level *level);

#endif
