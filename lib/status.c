/* SPDX-License-Identifier: MIT */
/* Names of outcomes and the sentence that goes with one.  Pure. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
    [ST_OK] = "ok",
    [ST_AGAIN] = "again",
    [ST_END] = "end",
    [ST_NOMEM] = "out of memory",
    [ST_FULL] = "full",
    [ST_INVALID] = "invalid",
    [ST_TOOLARGE] = "too large",
    [ST_NOTFOUND] = "not found",
    [ST_EXISTS] = "exists",
    [ST_BUSY] = "busy",
    [ST_NOSPACE] = "no space",
    [ST_MOVED] = "moved",
    [ST_CORRUPT] = "corrupt",
    [ST_DENIED] = "denied",
    [ST_UNSAFE] = "unsafe",
    [ST_SCHEMA] = "schema",
    [ST_CONSTRAINT] = "constraint",
    [ST_IO] = "i/o error",
};

const char *
status_name(enum status st)
{
	if ((unsigned)st >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[st];
}

void
errmsg_set(struct errmsg *e, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}
