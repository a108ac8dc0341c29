/* SPDX-License-Identifier: MIT */
/* The rules of access.conf(5).  Pure. */
#include "access.h"

#include <stdlib.h>

struct access {
	int unused;
};

enum status
access_parse(struct access **out, struct span text, struct span groups,
    const char *name, struct errmsg *err)
{
	(void)text;
	(void)groups;
	(void)name;
	(void)err;
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? ST_NOMEM : ST_OK;
}

void
access_free(struct access **a)
{
	free(*a);
	*a = NULL;
}

struct access_verdict
access_judge(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel)
{
	(void)a;
	(void)p;
	(void)op;
	(void)channel;
	return (struct access_verdict){.allowed = false};
}
