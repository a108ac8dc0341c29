/* SPDX-License-Identifier: MIT */
/*
 * What the head of an application's answer says: Status, X-Walcast-Channels,
 * X-Walcast-User, X-Walcast-Max-Age.  Pure.
 */
#ifndef WALCAST_APP_ANSWER_H
#define WALCAST_APP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define APP_CHANNELS_MAX 256
#define APP_USER_MAX     256

struct app_answer {
	int status;                            /* 200 when it says none */
	struct span user;                      /* empty: none */
	int64_t max_age_s;                     /* -1: it does not say */
	struct span channel[APP_CHANNELS_MAX]; /* patterns, into the head */
	size_t n_channels;
};

/*
 * Reads the head: header lines, each with its end.
 * Returns  ST_OK, ST_INVALID (it is none, or a value is not what it must be)
 */
MUST_USE enum status app_answer_read(struct span head, struct app_answer *out);

#endif
