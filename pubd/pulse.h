/* SPDX-License-Identifier: MIT */
/*
 * pubd's pulse: once a second it connects to its own socket as a publisher
 * does, asks {"op":"ping"} and waits for the answer in its loop.  So its health
 * is judged by the path that publishers take - the socket's name, accepting,
 * reading, answering - and not by a timer that would run regardless.
 */
#ifndef WALCAST_PULSE_H
#define WALCAST_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "loop.h"
#include "sock_client.h"
#include "status.h"

#define PULSE_GIVE_UP_US 5000000 /* then it is tried anew */
#define PULSE_LEAST_US   3000000 /* an answer that is older is late */

struct pulse {
	struct loop *loop;
	const char *socket;
	struct sock_client client;
	struct watch watch;   /* fd is -1 while nothing is asked */
	uint64_t asked_us;    /* when the one that is out was sent */
	uint64_t answered_us; /* when an answer last came, whatever it said */
	uint64_t good_us;     /* when one said ok */
	struct log_state fails;
	bool stopped;
};

/* Counts as well at first.  socket   must outlive it */
void pulse_init(struct pulse *p, struct loop *l, const char *socket,
    uint64_t now_us);
void pulse_fini(struct pulse *p);

/* Asks, when nothing is out; gives up what is out for too long. */
void pulse_ask(struct pulse *p, uint64_t now_us);

#endif
