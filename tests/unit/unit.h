/* SPDX-License-Identifier: MIT */
/* What every unit test includes: cmocka and assertions about our types. */
#ifndef WALCAST_TEST_UNIT_H
#define WALCAST_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "span.h"
#include "status.h"

#define PATH_BYTES 256

/* Compares outcomes and shows their names when they differ. */
#define assert_status(got, want)                                               \
	unit_status((got), (want), #got, __FILE__, __LINE__)

static inline void
unit_status(enum status got, enum status want, const char *what,
    const char *file, int line)
{
	if (got == want)
		return;
	print_error("%s: %s, expected %s\n", what, status_name(got),
	    status_name(want));
	_fail(file, line);
}

/* Compares bytes and shows both when they differ. */
#define assert_span(got, want)                                                 \
	unit_span((got), (want), #got, __FILE__, __LINE__)

static inline void
unit_span(struct span got, struct span want, const char *what, const char *file,
    int line)
{
	if (span_eq(got, want))
		return;
	print_error("%s: %zu bytes \"%.*s\", expected %zu bytes \"%.*s\"\n",
	    what, got.len, (int)got.len, got.p == NULL ? "" : got.p, want.len,
	    (int)want.len, want.p == NULL ? "" : want.p);
	_fail(file, line);
}

/* Does `make valgrind` run this?  It keeps some descriptors for itself. */
static inline bool
unit_under_valgrind(void)
{
	const char *under = getenv("UNIT_UNDER");

	return under != NULL && strstr(under, "valgrind") != NULL;
}

#define RUN(tests) cmocka_run_group_tests((tests), NULL, NULL)

#endif
