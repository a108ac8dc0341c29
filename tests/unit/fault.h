/* SPDX-License-Identifier: MIT */
/*
 * Allocations that fail on demand.  Works for every call of malloc, calloc
 * and realloc in our own objects (the linker wraps them), not inside shared
 * libraries.
 */
#ifndef WALCAST_TEST_FAULT_H
#define WALCAST_TEST_FAULT_H

#include <stdbool.h>

/* The n-th allocation from now fails, once; 0: none does. */
void fault_alloc_at(unsigned n);

/* Has it failed since then?  Also ends the waiting for it. */
bool fault_hit(void);

#endif
