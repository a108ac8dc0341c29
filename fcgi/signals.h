/* SPDX-License-Identifier: MIT */
/* The signals of a FastCGI program, read in its loop. */
#ifndef WALCAST_SIGNALS_H
#define WALCAST_SIGNALS_H

#include "loop.h"

/*
 * Starts libfcgi and watches SIGTERM, SIGINT, SIGUSR1 (FastCGI: finish and
 * go) and SIGHUP by a signalfd(2) in w->fd; SIGPIPE is ignored.  libfcgi puts
 * handlers of its own in place, one of which would swallow a SIGTERM: ours
 * are blocked before it starts, so none is lost.
 *
 * w        its fn is set by the caller
 * Returns  ST_OK, ST_NOMEM, ST_IO
 */
MUST_USE enum status signals_watch(struct loop *l, struct watch *w);

#endif
