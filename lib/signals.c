/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void
fill_set(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGUSR1);
	(void)sigaddset(set, SIGHUP);
}

enum status
signals_block(void)
{
	sigset_t set;

	fill_set(&set);
	(void)signal(SIGPIPE, SIG_IGN);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? ST_IO : ST_OK;
}

enum status
signals_watch(struct loop *l, struct watch *w)
{
	sigset_t set;
	enum status st = signals_block();

	if (st != ST_OK)
		return st;
	fill_set(&set);
	w->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return w->fd < 0 ? ST_IO : loop_add(l, w, EPOLLIN);
}

enum signals_request
signals_next(const struct watch *w)
{
	struct signalfd_siginfo si;

	if (read(w->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return SIGNALS_NONE;
	return si.ssi_signo == SIGHUP ? SIGNALS_RELOAD : SIGNALS_END;
}

void
signals_unwatch(struct loop *l, struct watch *w)
{
	int fd = w->fd;

	if (fd < 0)
		return;
	loop_del(l, w);
	(void)close(fd);
}
