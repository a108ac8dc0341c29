/* SPDX-License-Identifier: MIT */
/*
 * Which users may speak as a process of ours; the kernel says who the peer is.
 * Root and the owner of the log may, since they could do all that and more
 * anyway, and those whom report_users names.  Otherwise any publisher could
 * falsify every metric, and listen as a worker does.
 */
#ifndef WALCAST_TRUST_H
#define WALCAST_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define TRUST_MAX 128 /* users named; more than the key's text can hold */

struct trust {
	int64_t owner; /* of the log; -1: not known */
	int64_t named[TRUST_MAX];
	size_t n_named;
};

/*
 * Replaces the list of named users.
 *
 * uids   as struct conf has report_users: numbers parted by spaces
 */
void trust_name(struct trust *t, struct span uids);

/* Looks up the log's owner; keeps the last answer while the log is away. */
void trust_look(struct trust *t, const char *log_path);

/* False for uid -1, a peer that is not known. */
bool trust_owns(const struct trust *t, int64_t uid);
bool trust_reports(const struct trust *t, int64_t uid);

#endif
