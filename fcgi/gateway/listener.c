/* SPDX-License-Identifier: MIT */
/* The listening socket of a FastCGI program. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

#define SYSTEMD_FIRST 3 /* sd_listen_fds(3) */

bool
listener_is(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 &&
	    on != 0;
}

static bool
from_systemd(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	return pid != NULL && fds != NULL && atol(pid) == (long)getpid() &&
	    atoi(fds) >= 1 && listener_is(SYSTEMD_FIRST);
}

enum status
listener_find(const char *address, unsigned mode, int *fd, struct errmsg *err)
{
	int flags;

	*fd = -1;
	if (address != NULL)
		return sock_listen(address, mode, fd, err);
	if (from_systemd())
		*fd = SYSTEMD_FIRST;
	else if (listener_is(STDIN_FILENO))
		*fd = STDIN_FILENO;
	else
		return ST_OK;
	/* accept must never wait; the flag is shared with our siblings. */
	flags = fcntl(*fd, F_GETFL);
	if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		errmsg_set(err, "cannot use the listening socket: %s",
		    strerror(errno));
		return ST_IO;
	}
	return ST_OK;
}

void
listener_end(const char *address, int fd)
{
	if (address == NULL || fd < 0)
		return;
	(void)close(fd);
	if (strchr(address, '/') != NULL)
		(void)unlink(address);
}
