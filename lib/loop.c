/* SPDX-License-Identifier: MIT */
/*
 * epoll and a binary heap of timers.  Invariant: heap[t->slot - 1] == t for
 * every timer that is set.  Blocks in epoll_wait only.
 */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"

#define EVENTS_PER_TURN 512
#define FIRST_TIMERS    (4 * LOOP_OWN_TIMERS)

struct loop {
	int epoll_fd;
	uint64_t now_us;
	struct timer **heap;
	size_t n_timers, cap_timers;
	struct epoll_event events[EVENTS_PER_TURN];
};

enum status
loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return ST_NOMEM;
	l->heap = malloc(FIRST_TIMERS * sizeof(struct timer *));
	if (l->heap == NULL) {
		free(l);
		return ST_NOMEM;
	}
	l->cap_timers = FIRST_TIMERS;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		free(l->heap);
		free(l);
		return ST_IO;
	}
	l->now_us = clock_mono_us();
	*out = l;
	return ST_OK;
}

void
loop_free(struct loop **l)
{
	if (*l == NULL)
		return;
	(void)close((*l)->epoll_fd);
	free((*l)->heap);
	free(*l);
	*l = NULL;
}

static enum status
control(struct loop *l, int op, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data = {.ptr = w}};

	if (epoll_ctl(l->epoll_fd, op, w->fd, &ev) == 0)
		return ST_OK;
	return errno == ENOMEM || errno == ENOSPC ? ST_NOMEM : ST_IO;
}

enum status
loop_add(struct loop *l, struct watch *w, uint32_t events)
{
	return control(l, EPOLL_CTL_ADD, w, events);
}

enum status
loop_mod(struct loop *l, struct watch *w, uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, w, events);
}

void
loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	(void)control(l, EPOLL_CTL_DEL, w, 0);
	w->fd = -1;
}

static void
loop_place(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

static void
sift_up(struct loop *l, size_t i, struct timer *t)
{
	while (i > 0 && l->heap[(i - 1) / 2]->due_us > t->due_us) {
		loop_place(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	loop_place(l, i, t);
}

static void
sift_down(struct loop *l, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= l->n_timers)
			break;
		if (child + 1 < l->n_timers &&
		    l->heap[child + 1]->due_us < l->heap[child]->due_us)
			child++;
		if (l->heap[child]->due_us >= t->due_us)
			break;
		loop_place(l, i, l->heap[child]);
		i = child;
	}
	loop_place(l, i, t);
}

static enum status
grow_heap(struct loop *l)
{
	size_t cap = 2 * l->cap_timers;
	struct timer **heap = realloc(l->heap, cap * sizeof(struct timer *));

	if (heap == NULL)
		return ST_NOMEM;
	l->heap = heap;
	l->cap_timers = cap;
	return ST_OK;
}

/* The last places in the heap are reserved for the program's own timers. */
static enum status
find_room(struct loop *l, const struct timer *t)
{
	size_t room = l->cap_timers - l->n_timers;

	if (room > LOOP_OWN_TIMERS || grow_heap(l) == ST_OK)
		return ST_OK;
	return room > 0 && !t->is_of_peer ? ST_OK : ST_NOMEM;
}

enum status
timer_set(struct loop *l, struct timer *t, uint64_t due_us)
{
	if (t->slot == 0) {
		enum status st = find_room(l, t);

		if (st != ST_OK)
			return st;
		t->due_us = due_us;
		sift_up(l, l->n_timers++, t);
		return ST_OK;
	}
	if (due_us < t->due_us) {
		t->due_us = due_us;
		sift_up(l, t->slot - 1, t);
	} else {
		t->due_us = due_us;
		sift_down(l, t->slot - 1, t);
	}
	return ST_OK;
}

void
timer_cancel(struct loop *l, struct timer *t)
{
	size_t i = t->slot - 1;
	struct timer *last;

	if (t->slot == 0)
		return;
	assert(l->heap[i] == t);
	t->slot = 0;
	last = l->heap[--l->n_timers];
	if (last == t)
		return;
	if (last->due_us < t->due_us)
		sift_up(l, i, last);
	else
		sift_down(l, i, last);
}

uint64_t
loop_now_us(const struct loop *l)
{
	return l->now_us;
}

static int
wait_ms(const struct loop *l, uint64_t max_wait_us)
{
	uint64_t now = clock_mono_us(), wait = max_wait_us;

	if (l->n_timers > 0) {
		uint64_t due = l->heap[0]->due_us;
		uint64_t left = due > now ? due - now : 0;

		if (left < wait)
			wait = left;
	}
	if (wait == LOOP_FOREVER)
		return -1;
	/* Rounded up, so that a timer is due when we wake for it. */
	wait = (wait + 999) / 1000;
	return wait > 3600000 ? 3600000 : (int)wait;
}

static void
run_timers(struct loop *l)
{
	/* Timers that are set during this turn wait for the next one. */
	uint64_t now = l->now_us;
	size_t budget = l->n_timers;

	while (budget-- > 0 && l->n_timers > 0 && l->heap[0]->due_us <= now) {
		struct timer *t = l->heap[0];

		timer_cancel(l, t);
		t->fn(t, now);
	}
}

enum status
loop_turn(struct loop *l, uint64_t max_wait_us)
{
	int n, i;

	n = epoll_wait(l->epoll_fd, l->events, EVENTS_PER_TURN,
	    wait_ms(l, max_wait_us));
	if (n < 0 && errno != EINTR)
		return ST_IO;
	l->now_us = clock_mono_us();
	for (i = 0; i < n; i++) {
		struct watch *w = l->events[i].data.ptr;

		if (w->fd >= 0)
			w->fn(w, l->events[i].events);
	}
	run_timers(l);
	return ST_OK;
}
