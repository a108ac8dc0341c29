/* SPDX-License-Identifier: MIT */
/*
 * How a FastCGI program finds the socket on which it is asked, if any.
 */
#ifndef WALCAST_LISTENER_H
#define WALCAST_LISTENER_H

#include <stdbool.h>

#include "status.h"

/* What a FastCGI program says of it (program.h): the option and the help. */
#define LISTENER_OPTION(address)                                               \
	{                                                                      \
		.letter = 'l', .name = "listen", .argument = "PATH|HOST:PORT", \
		.sentence = "stand alone on a Unix socket or TCP address",     \
		.value = (address)                                             \
	}
#define LISTENER_NOTE                                                          \
	"Without --listen: FastCGI when standard input is a listening "        \
	"socket,\nelse one request as plain CGI.\n"

/* Is this descriptor a listening socket? */
bool listener_is(int fd);

/*
 * The listening socket, non-blocking: on `address` (sock_listen) when it is
 * given; else fd 3 as systemd passes it (sd_listen_fds(3)); else fd 0, as web
 * servers start FastCGI programs (FastCGI specification, section 2.2).
 *
 * mode     permission bits of a socket file that is made
 * Returns  ST_OK, *fd -1 when there is none: plain CGI; else err says why
 */
MUST_USE enum status listener_find(const char *address, unsigned mode, int *fd,
    struct errmsg *err);

/*
 * Closes the socket that listener_find made on `address`, and removes its file;
 * one that was passed to us stays as it is.
 */
void listener_end(const char *address, int fd);

#endif
