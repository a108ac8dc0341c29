/* SPDX-License-Identifier: MIT */
/*
 * libfcgi, given only what it cannot block or break on.  The only module that
 * includes fcgiapp.h.
 */
#ifndef WALCAST_FCGX_H
#define WALCAST_FCGX_H

#include "params.h"
#include "status.h"

/*
 * Once, before signals are set up: libfcgi replaces the handlers of SIGPIPE,
 * SIGUSR1 and SIGTERM.
 */
MUST_USE enum status fcgx_init(void);

/*
 * Parses the request that lies in fd, which record_scan has found whole, and
 * takes it out of the socket: variables, and as much of the body as params
 * keep.  Writes nothing, closes nothing.
 *
 * Returns  ST_OK, ST_INVALID (libfcgi did not accept it), ST_FULL (more or
 *          longer parameters than ours), ST_NOMEM
 */
MUST_USE enum status fcgx_read(int fd, struct params *params);

#endif
