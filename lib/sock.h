/* SPDX-License-Identifier: MIT */
/*
 * Sockets, all non-blocking and close-on-exec.  Failures fill `err` with a
 * sentence that names the path and the remedy.
 */
#ifndef WALCAST_SOCK_H
#define WALCAST_SOCK_H

#include "span.h"
#include "status.h"

/*
 * Listens on a Unix stream socket.  A socket of a dead process is replaced;
 * that of a live one never.
 *
 * mode     permission bits of the socket file
 * Returns  ST_OK, ST_EXISTS (somebody answers there), ST_INVALID (the path is
 *          too long, or not a socket), ST_DENIED, ST_IO
 */
MUST_USE enum status sock_listen_unix(const char *path, unsigned mode, int *fd,
    struct errmsg *err);

/*
 * Listens where `address` says: a path with a slash is a Unix socket (mode as
 * above), otherwise HOST:PORT, :PORT or [V6]:PORT.
 */
MUST_USE enum status sock_listen(const char *address, unsigned mode, int *fd,
    struct errmsg *err);

/*
 * Connects to a Unix stream socket without waiting.
 * Returns  ST_OK, ST_NOTFOUND (nobody listens), ST_BUSY (its queue is full),
 *          ST_DENIED, ST_INVALID, ST_IO
 */
MUST_USE enum status sock_connect_unix(const char *path, int *fd,
    struct errmsg *err);

/*
 * Accepts one connection.
 * Returns  ST_OK, ST_AGAIN (nobody waits), ST_FULL (no descriptors or memory:
 *          pause by a timer), ST_IO (the listener itself is broken)
 */
MUST_USE enum status sock_accept(int listener, int *fd);

/* Reads once.  Returns ST_OK (*n > 0), ST_AGAIN, ST_END or ST_IO. */
MUST_USE enum status sock_read(int fd, char *p, size_t cap, size_t *n);

/* Writes once, never raises SIGPIPE.  As sock_read; ST_END: peer is gone. */
MUST_USE enum status sock_write(int fd, struct span s, size_t *n);

/* Raises the soft limit on descriptors to the hard one; returns it. */
unsigned long sock_raise_fd_limit(void);

#endif
