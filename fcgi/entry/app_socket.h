/* SPDX-License-Identifier: MIT */
/*
 * Where the application is: `fcgi:SOCKET:SCRIPT` of the key `authorizer`.
 * SOCKET is the path of a Unix socket, or HOST:PORT with a numeric HOST; SCRIPT
 * is the last part, which begins with a slash.
 */
#ifndef WALCAST_APP_SOCKET_H
#define WALCAST_APP_SOCKET_H

#include <sys/socket.h>

#include "span.h"
#include "status.h"

struct app_socket {
	struct sockaddr_storage address;
	socklen_t len;
	char script[512];
};

/* ST_OK, ST_INVALID: err says what is wrong with the value of the key */
MUST_USE enum status app_socket_parse(struct app_socket *out, struct span value,
    struct errmsg *err);

/*
 * Begins to connect, without blocking.
 * Returns  ST_OK (*fd is the caller's), ST_AGAIN (its queue is full), ST_IO
 */
MUST_USE enum status app_socket_connect(const struct app_socket *s, int *fd);

#endif
