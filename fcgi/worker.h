/* SPDX-License-Identifier: MIT */
/*
 * One worker process: the loop, and all that it drives.
 */
#ifndef WALCAST_WORKER_H
#define WALCAST_WORKER_H

#include "status.h"

struct program;
struct worker;

/*
 * Opens the log and sets everything up.
 *
 * p         outlives the worker, which reads its configuration again on HUP
 * listener  a listening socket, non-blocking; -1: plain CGI, one stream on
 *           fd 1 with the environment's variables
 * Returns   ST_OK, or why it cannot run: err names the remedy
 */
MUST_USE enum status worker_new(struct worker **out, struct program *p,
    int listener, struct errmsg *err);

/*
 * Runs until it is told to stop (SIGTERM, SIGINT) and has drained.
 *
 * listen  how the log calls the listener
 */
MUST_USE enum status worker_run(struct worker *w, const char *listen);

void worker_free(struct worker **w);

#endif
