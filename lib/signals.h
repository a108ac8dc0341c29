/* SPDX-License-Identifier: MIT */
/*
 * What signals ask of a program that serves, read in its loop: the same for all
 * of them.  TERM, INT and USR1 (FastCGI's "finish and go") ask it to end, HUP
 * to read its configuration again; PIPE is ignored, since write(2) tells when a
 * peer is gone.
 */
#ifndef WALCAST_SIGNALS_H
#define WALCAST_SIGNALS_H

#include "loop.h"

enum signals_request { SIGNALS_NONE, SIGNALS_RELOAD, SIGNALS_END };

/*
 * Holds them back until there is a loop that reads them, so that none is lost
 * and no handler of a library (libfcgi has one that would swallow a TERM) gets
 * it.  Threads that begin later inherit this.
 *
 * Returns  ST_OK, ST_IO
 */
MUST_USE enum status signals_block(void);

/*
 * Reads them by a signalfd(2) in w->fd; blocks them, too, and ignores PIPE
 * once more, whatever a library has put there meanwhile.
 *
 * w        its fn is set by the caller
 * Returns  ST_OK, ST_NOMEM, ST_IO
 */
MUST_USE enum status signals_watch(struct loop *l, struct watch *w);

/* The next one that has come: to be called until there is none. */
enum signals_request signals_next(const struct watch *w);

/* Takes the watch out and closes its descriptor; w->fd may be -1. */
void signals_unwatch(struct loop *l, struct watch *w);

#endif
