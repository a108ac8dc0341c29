/* SPDX-License-Identifier: MIT */
/*
 * Serves metrics, health and the status page, as FastCGI or as plain CGI.  One
 * thread; a request is answered in the turn in which it is whole, and blocks
 * on the disk only.  Streams of the status page live on until their reader
 * leaves.
 */
#ifndef WALCAST_METRICS_SERVER_H
#define WALCAST_METRICS_SERVER_H

#include "status.h"

struct metrics_server;
struct program;

/*
 * p         outlives it; its configuration is read again on HUP
 * listener  a listening socket, non-blocking, that stays the caller's; -1:
 *           plain CGI, the environment is the request and fd 1 the connection
 * Returns   ST_OK, or why it cannot run; err may stay empty
 */
MUST_USE enum status metrics_server_new(struct metrics_server **out,
    struct program *p, int listener, struct errmsg *err);
void metrics_server_free(struct metrics_server **ms);

/*
 * Runs until a signal says that it is enough; plain CGI until the answer is
 * out, or its reader has left the stream.
 *
 * Returns  ST_OK, ST_NOMEM, or ST_IO when the loop broke
 */
MUST_USE enum status metrics_server_run(struct metrics_server *ms);

#endif
