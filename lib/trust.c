/* SPDX-License-Identifier: MIT */
/* Who may speak as a process of ours.  Blocks on one stat(2). */
#include "trust.h"

#include <sys/stat.h>

void
trust_name(struct trust *t, struct span uids)
{
	struct span part;
	int64_t uid;

	t->n_named = 0;
	while (t->n_named < TRUST_MAX && span_cut(&uids, ' ', &part))
		if (span_to_int64(part, &uid))
			t->named[t->n_named++] = uid;
}

void
trust_look(struct trust *t, const char *log_path)
{
	struct stat sb;

	if (stat(log_path, &sb) == 0)
		t->owner = (int64_t)sb.st_uid;
}

bool
trust_owns(const struct trust *t, int64_t uid)
{
	return uid == 0 || (uid > 0 && uid == t->owner);
}

bool
trust_reports(const struct trust *t, int64_t uid)
{
	size_t i;

	for (i = 0; i < t->n_named; i++)
		if (t->named[i] == uid)
			return true;
	return trust_owns(t, uid);
}
