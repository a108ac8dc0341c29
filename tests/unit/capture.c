/* SPDX-License-Identifier: MIT */
/* Standard error, read back. */
#include "capture.h"

#include <unistd.h>

#include "unit.h"

static int saved_stderr = -1;
static int pipe_fds[2];
static char text[65536];

void
capture_begin(void)
{
	assert_int_equal(pipe(pipe_fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
	(void)close(pipe_fds[1]);
}

struct span
capture_end(void)
{
	size_t n = 0;
	ssize_t got;

	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	saved_stderr = -1;
	while ((got = read(pipe_fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	(void)close(pipe_fds[0]);
	text[n] = '\0';
	return span_of(text, n);
}

void
capture_stop(void)
{
	if (saved_stderr >= 0)
		(void)capture_end();
}
