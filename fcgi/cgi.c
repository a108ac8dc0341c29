/* SPDX-License-Identifier: MIT */
/* Plain CGI.  Blocks for the body, at most BODY_WAIT_MS without a byte. */
#include "cgi.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define BODY_BYTES_MAX (1 << 20)
#define BODY_WAIT_MS   1000

extern char **environ;

static void
discard_body(const struct params *params)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	char scratch[4096];
	int64_t left;

	if (!span_to_int64(params_get(params, "CONTENT_LENGTH"), &left))
		return;
	if (left > BODY_BYTES_MAX)
		left = BODY_BYTES_MAX;
	while (left > 0 && poll(&in, 1, BODY_WAIT_MS) == 1) {
		ssize_t n = read(STDIN_FILENO, scratch, sizeof(scratch));

		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			break;
		if (n > 0)
			left -= n;
	}
}

enum status
cgi_read(struct params *params)
{
	char **env;

	for (env = environ; *env != NULL; env++)
		/* What is no variable, or too much, is not for us. */
		if (params_add(params, span_str(*env)) == ST_NOMEM)
			return ST_NOMEM;
	discard_body(params);
	return ST_OK;
}
