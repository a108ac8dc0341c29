/* SPDX-License-Identifier: MIT */
/*
 * The daemon: a socket that takes events, a log that keeps them.  One
 * thread, one loop; the order of a turn (server.c) is the durability
 * contract.
 */
#ifndef WALCAST_SERVER_H
#define WALCAST_SERVER_H

#include "status.h"

struct program;
struct server;

/*
 * Opens the log and listens.
 *
 * p        outlives the server, which reads its configuration again on HUP
 * Returns  ST_OK, or why not; err is a sentence for people
 */
MUST_USE enum status server_new(struct server **out, struct program *p,
    struct errmsg *err);
void server_free(struct server **s);

/* Runs until TERM or INT.  Returns ST_OK, or ST_IO when the loop broke. */
MUST_USE enum status server_run(struct server *s);

#endif
