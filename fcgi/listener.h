/* SPDX-License-Identifier: MIT */
/*
 * How a FastCGI program finds the socket on which it is asked, if any.
 */
#ifndef WALCAST_LISTENER_H
#define WALCAST_LISTENER_H

#include <stdbool.h>

#include "status.h"

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

#endif
