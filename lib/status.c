/* SPDX-License-Identifier: MIT */
/* Names of outcomes and the sentence that goes with one.  Pure. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

#define STATUS_NAME(member, name) (name),
static const char *const names[] = {STATUSES(STATUS_NAME)};

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
