/* SPDX-License-Identifier: MIT */
/* What every fuzzer includes. */
#ifndef WALCAST_FUZZ_H
#define WALCAST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "span.h"
#include "status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert, but no build switches it off. */
#define MUST(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: Assertion failed: %s\n",       \
			    __FILE__, __LINE__, #condition);                   \
			abort();                                               \
		}                                                              \
	} while (0)

/* The input as a span; NULL when it is empty. */
static inline struct span
fuzz_span(const uint8_t *data, size_t size)
{
	return span_of(size == 0 ? NULL : (const char *)data, size);
}

#endif
