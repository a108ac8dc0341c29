/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets.  Invariant: a listener's fd is open from listeners_add to
 * listeners_stop, and either the loop watches it or its pause is set.
 */
#include "listeners.h"

#include <errno.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "sock.h"

#define ACCEPTS_PER_TURN 64     /* others wait meanwhile */
#define ACCEPTS_LAST     4096   /* when we stop: no turn comes any more */
#define PAUSE_US         100000 /* then it is tried again */

void
listeners_init(struct listeners *set, struct loop *l, struct conns *conns)
{
	*set = (struct listeners){.loop = l, .conns = conns};
}

/* A program's own timers can always be set. */
static void
listener_pause(struct listener *at)
{
	struct loop *l = at->set->loop;

	at->set->n_paused++;
	if (log_state(&at->paused, errno, loop_now_us(l)))
		log_warn("cannot accept a connection (%zu are open), pausing",
		    at->set->conns->n);
	loop_del(l, &at->watch);
	status_ignore(timer_set(l, &at->pause, loop_now_us(l) + PAUSE_US));
}

static void
listener_accept(struct listener *at, int budget)
{
	enum status st = ST_OK;
	int fd;

	while (st == ST_OK && budget-- > 0) {
		st = sock_accept(at->fd, &fd);
		if (st == ST_OK)
			st = conns_take_fd(at->set->conns, fd, at->codec);
	}
	if (st != ST_OK && st != ST_AGAIN)
		listener_pause(at);
}

static void
listener_event(struct watch *w, uint32_t events)
{
	(void)events;
	listener_accept(OWNER_OF(w, struct listener, watch), ACCEPTS_PER_TURN);
}

static enum status
listener_watch(struct listener *at)
{
	enum status st;

	at->watch.fd = at->fd;
	st = loop_add(at->set->loop, &at->watch, EPOLLIN);
	if (st != ST_OK)
		at->watch.fd = -1;
	return st;
}

static void
listener_go_on(struct timer *t, uint64_t now_us)
{
	struct listener *at = OWNER_OF(t, struct listener, pause);

	if (listener_watch(at) != ST_OK)
		status_ignore(
		    timer_set(at->set->loop, &at->pause, now_us + PAUSE_US));
}

enum status
listeners_add(struct listeners *set, const char *path, unsigned mode,
    const struct codec *codec, struct errmsg *err)
{
	struct listener *at = &set->list[set->n];
	enum status st;

	if (set->n == LISTENERS_MOST) {
		errmsg_set(err, "%s: there are %d sockets already", path,
		    LISTENERS_MOST);
		return ST_FULL;
	}
	*at = (struct listener){.watch = {.fd = -1, .fn = listener_event},
	    .pause = {.fn = listener_go_on},
	    .set = set,
	    .path = path,
	    .codec = codec};
	st = sock_listen_unix(path, mode, &at->fd, err);
	if (st != ST_OK)
		return st;
	set->n++; /* from here on listeners_fini closes it */
	st = listener_watch(at);
	if (st != ST_OK) /* UNTESTED: no memory for one watch */
		errmsg_set(err, "%s: cannot be watched: %s", path,
		    status_name(st));
	return st;
}

static void
listener_close(struct listener *at)
{
	timer_cancel(at->set->loop, &at->pause);
	loop_del(at->set->loop, &at->watch);
	(void)unlink(at->path);
	(void)close(at->fd);
}

void
listeners_fini(struct listeners *set)
{
	while (set->n > 0)
		listener_close(&set->list[--set->n]);
}

void
listeners_stop(struct listeners *set)
{
	size_t i;

	for (i = 0; i < set->n; i++)
		listener_accept(&set->list[i], ACCEPTS_LAST);
	listeners_fini(set);
}
