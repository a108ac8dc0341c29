/* SPDX-License-Identifier: MIT */
/*
 * The event loop: epoll(7), timers in a heap, nothing else.  One thread.
 *
 * Objects embed a `struct watch` or a `struct timer`.  A watch that was
 * deleted is not called again, but its memory must stay until the turn ends:
 * mark the object dead and reap it after loop_turn().
 */
#ifndef WALCAST_LOOP_H
#define WALCAST_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "status.h"

#define LOOP_FOREVER UINT64_MAX

struct loop;

/* The object in which a watch or a timer is embedded as `member`. */
#define OWNER_OF(ptr, type, member)                                            \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct watch {
	int fd; /* -1 when not in a loop */
	void (*fn)(struct watch *w, uint32_t events);
};

/*
 * A program has a few timers of its own (LOOP_OWN_TIMERS at most), and perhaps
 * one for each peer.  Its own can always be set, since a program that failed to
 * set one would never wake for it again.
 */
struct timer {
	uint64_t due_us; /* monotonic */
	size_t slot;     /* place in the heap + 1; 0: not set */
	bool is_of_peer; /* one of any number: may be refused */
	void (*fn)(struct timer *t, uint64_t now_us);
};

#define LOOP_OWN_TIMERS 16

MUST_USE enum status loop_new(struct loop **out);
void loop_free(struct loop **l);

/* events   EPOLLIN etc., EPOLLET and EPOLLEXCLUSIVE allowed */
MUST_USE enum status loop_add(struct loop *l, struct watch *w, uint32_t events);
MUST_USE enum status loop_mod(struct loop *l, struct watch *w, uint32_t events);
/* Takes the watch out and sets its fd to -1; the caller closes the fd. */
void loop_del(struct loop *l, struct watch *w);

/*
 * Sets or moves a timer.
 * Returns  ST_OK or ST_NOMEM (a peer's timer that was not set)
 */
MUST_USE enum status timer_set(struct loop *l, struct timer *t,
    uint64_t due_us);
void timer_cancel(struct loop *l, struct timer *t);

/* The time at which this turn began to run callbacks, monotonic. */
uint64_t loop_now_us(const struct loop *l);

/*
 * One turn: waits for events or the next timer, at most max_wait_us, then
 * calls the watches that are ready and the timers that are due.
 *
 * Returns  ST_OK or ST_IO (epoll itself failed; errno says why)
 */
MUST_USE enum status loop_turn(struct loop *l, uint64_t max_wait_us);

#endif
