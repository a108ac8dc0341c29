/* SPDX-License-Identifier: MIT */
/*
 * Who may speak as a process of ours, by the user that the kernel says the
 * peer has: root and the owner of the log, who can do all that and more
 * without asking, and whom report_users names.  A publisher could otherwise
 * spoil every metric, and listen as a worker does.
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
 * From now on these are named, and no others.
 *
 * uids   as struct conf has report_users: numbers parted by spaces
 */
void trust_name(struct trust *t, struct span uids);

/* Looks whose the log is; keeps the last answer while it is away. */
void trust_look(struct trust *t, const char *log_path);

/* uid -1, of a peer that is not known, is nobody. */
bool trust_owns(const struct trust *t, int64_t uid);
bool trust_reports(const struct trust *t, int64_t uid);

#endif
