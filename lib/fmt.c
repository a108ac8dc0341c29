/* SPDX-License-Identifier: MIT */
/* Integers to text.  Pure. */
#include "fmt.h"

#include <string.h>

size_t
fmt_int64(char out[FMT_INT64_MAX], int64_t v)
{
	char rev[FMT_INT64_MAX];
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = 0, i = 0;

	do {
		rev[n++] = (char)('0' + u % 10);
		u /= 10;
	} while (u > 0);
	if (v < 0)
		out[i++] = '-';
	while (n > 0)
		out[i++] = rev[--n];
	return i;
}
