/* SPDX-License-Identifier: MIT */
/* A temporary directory for one test. */
#ifndef WALCAST_TEST_TMPDIR_H
#define WALCAST_TEST_TMPDIR_H

#include <stddef.h>

/* Setup and teardown of cmocka: *state becomes the path (char *). */
int tmpdir_setup(void **state);
int tmpdir_teardown(void **state);

/* DIR/NAME; valid until the fourth call after this one. */
const char *tmpdir_path(const char *dir, const char *name);

/* Writes a whole file; the test fails when that fails. */
void tmpdir_write(const char *path, const void *bytes, size_t n);

#endif
