/* SPDX-License-Identifier: MIT */
/* Counted allocation failures, by the linker's --wrap. */
#include "fault.h"

#include <errno.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static unsigned left; /* calls until the one that fails; 0: none */
static bool hit;

void
fault_alloc_at(unsigned n)
{
	left = n;
	hit = false;
}

bool
fault_hit(void)
{
	left = 0;
	return hit;
}

static bool
fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	hit = true;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}
