/* SPDX-License-Identifier: MIT */
/* Integers to text without printf's cost.  Pure. */
#ifndef WALCAST_FMT_H
#define WALCAST_FMT_H

#include <stddef.h>
#include <stdint.h>

#define FMT_INT64_MAX 20 /* bytes that any int64_t fits, sign included */

/* Writes v in decimal to out (not terminated).  Returns the bytes written. */
size_t fmt_int64(char out[FMT_INT64_MAX], int64_t v);

#endif
