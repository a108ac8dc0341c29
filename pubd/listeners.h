/* SPDX-License-Identifier: MIT */
/*
 * The sockets that pubd listens on, each with the codec that is spoken there.
 * New connections are handed to conn.c.  When descriptors or memory run out a
 * listener pauses by a timer, and never spins; clients that connect meanwhile
 * wait in the kernel's queue.  One thread; never blocks.
 */
#ifndef WALCAST_LISTENERS_H
#define WALCAST_LISTENERS_H

#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "loop.h"
#include "status.h"

struct codec;
struct conns;
struct listeners;

#define LISTENERS_MOST 4

struct listener {
	struct watch watch; /* fd is -1 while it pauses */
	struct timer pause;
	struct listeners *set;
	int fd;
	const char *path; /* of its socket, removed when it stops */
	const struct codec *codec;
	struct log_state paused;
};

struct listeners {
	struct loop *loop;
	struct conns *conns;
	struct listener list[LISTENERS_MOST];
	size_t n;
	uint64_t n_paused; /* times, of all of them */
};

/* conns   who get what connects; must outlive the set, as the loop must */
void listeners_init(struct listeners *set, struct loop *l, struct conns *conns);

/*
 * Listens on one more socket.
 *
 * path     must outlive the set
 * mode     permission bits of the socket
 * Returns  as sock_listen_unix, or ST_FULL; err says why
 */
MUST_USE enum status listeners_add(struct listeners *set, const char *path,
    unsigned mode, const struct codec *codec, struct errmsg *err);

/*
 * The end: accepts those who have already connected, then closes and removes
 * the sockets.  Calling it again is no error.
 */
void listeners_stop(struct listeners *set);

/* The same for a start that failed: takes nobody. */
void listeners_fini(struct listeners *set);

#endif
