/* SPDX-License-Identifier: MIT */
/*
 * The connecting end of a Unix stream socket: lines go out, lines come in.
 * Only sock_client_wait waits, and no longer than it is told to.  A line of
 * more than max_in bytes ends the connection.
 */
#ifndef WALCAST_SOCK_CLIENT_H
#define WALCAST_SOCK_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "linesplit.h"
#include "span.h"
#include "status.h"

struct sock_client {
	int fd; /* -1 when closed: begin with SOCK_CLIENT_NONE */
	struct buf out, in;
	struct linesplit lines; /* of `in` */
};

#define SOCK_CLIENT_NONE ((struct sock_client){.fd = -1})

/*
 * Connects without waiting.
 *
 * max_out, max_in   bounds on the bytes that wait to be sent, and to be taken
 *
 * Returns  as sock_connect_unix, with err saying what to do
 */
MUST_USE enum status sock_client_open(struct sock_client *c, const char *path,
    size_t max_out, size_t max_in, struct errmsg *err);

/* Drops what waits.  May be called again. */
void sock_client_close(struct sock_client *c);

/*
 * Queues a line, given without its newline.
 * Returns  ST_OK, ST_FULL or ST_NOMEM; on failure what waited stays as it was
 */
MUST_USE enum status sock_client_put(struct sock_client *c, struct span line);

/*
 * Writes as much as the socket takes.
 * Returns  ST_OK (nothing is left), ST_AGAIN, ST_END (the peer has gone), ST_IO
 */
MUST_USE enum status sock_client_flush(struct sock_client *c);

/*
 * Reads once.
 * Returns  ST_OK, ST_AGAIN, ST_END (the peer has closed), ST_FULL (a line of
 *          more than max_in bytes), ST_NOMEM, ST_IO
 */
MUST_USE enum status sock_client_receive(struct sock_client *c);

/*
 * The next line, without its end; valid until the next call on the client.
 * Returns  ST_OK or ST_AGAIN
 */
MUST_USE enum status sock_client_line(struct sock_client *c, struct span *line);

/*
 * Waits for events of poll(2), or until then.  False: it is closed, or time
 * is up.
 */
bool sock_client_wait(const struct sock_client *c, short events,
    uint64_t until_us);

/* How long poll(2) may wait for that time. */
int sock_client_poll_ms(uint64_t until_us);

#endif
