/* SPDX-License-Identifier: MIT */
/* Rules as they are kept: access_parse.c makes them, access.c judges by them.
 */
#ifndef WALCAST_ACCESS_PRIVATE_H
#define WALCAST_ACCESS_PRIVATE_H

#include "access.h"

/* What stands for a part of a pattern: X(MEMBER, as it is written). */
#define ACCESS_VARIABLES(X)                                                    \
	X(VAR_NONE, "")                                                        \
	X(VAR_USER_LABEL, "$user_label")                                       \
	X(VAR_VALUE_LABEL, "$value_label")                                     \
	X(VAR_USER, "$user")                                                   \
	X(VAR_VALUE, "$value")

enum access_variable {
#define X(member, word) ACCESS_##member,
	ACCESS_VARIABLES(X)
#undef X
	    ACCESS_VARIABLE_COUNT
};

/* before VARIABLE after, and a `*` at the end or none. */
struct access_pattern {
	struct span before, after;
	enum access_variable variable;
	bool prefix;
};

struct access_rule {
	unsigned line;
	enum access_kind kind;
	unsigned ops; /* a bit for each */
	/* Names of users or groups; the variable and, if n_names is 2, its
	 * value. */
	const struct span *name;
	size_t n_names;
	const int64_t *id; /* of uid and gid */
	size_t n_ids;
	const struct access_pattern *pattern;
	size_t n_patterns;
	struct access_rate rate;
	struct span text;
};

/* A user in a group. */
struct access_member {
	struct span group, user;
};

struct access {
	char *text, *groups; /* what all spans point into */
	struct access_rule *rule;
	size_t n_rules;
	struct span *name;
	int64_t *id;
	struct access_pattern *pattern;
	struct access_member *member; /* sorted */
	size_t n_names, n_ids, n_patterns, n_members;
};

/* As memcmp; the shorter goes first. */
int access_compare(struct span a, struct span b);

/* Is the user in the group? */
bool access_in_group(const struct access *a, struct span group,
    struct span user);

/* Is there such a group at all? */
bool access_has_group(const struct access *a, struct span group);

#endif
