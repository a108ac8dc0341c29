/* SPDX-License-Identifier: MIT */
/* What goes to standard error, read back from a pipe in its place. */
#ifndef WALCAST_TEST_CAPTURE_H
#define WALCAST_TEST_CAPTURE_H

#include "span.h"

/* No more than a pipe holds may be written between the two. */
void capture_begin(void);

/*
 * What was written since capture_begin, a NUL behind it; valid until the next
 * one ends.
 */
struct span capture_end(void);

/* For teardown: ends one that a test that failed has left. */
void capture_stop(void);

#endif
