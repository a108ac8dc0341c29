/* SPDX-License-Identifier: MIT */
/* The signals of a FastCGI program. */
#include "signals.h"

#include <signal.h>
#include <sys/signalfd.h>

#include "fcgx.h"

enum status
signals_watch(struct loop *l, struct watch *w)
{
	sigset_t set;
	enum status st;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return ST_IO;
	st = fcgx_init();
	if (st != ST_OK)
		return st;
	(void)signal(SIGPIPE, SIG_IGN); /* libfcgi has put its own there */
	w->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return w->fd < 0 ? ST_IO : loop_add(l, w, EPOLLIN);
}
