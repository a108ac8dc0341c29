/* SPDX-License-Identifier: MIT */
/*
 * What the three files of the daemon share, and nobody else includes:
 * server.c is one turn of its loop, server_timers.c what is done by the clock,
 * server_life.c how it starts, takes a new configuration and ends.
 */
#ifndef WALCAST_SERVER_PRIVATE_H
#define WALCAST_SERVER_PRIVATE_H

#include "after_commit.h"
#include "batch.h"
#include "commit.h"
#include "conf.h"
#include "conn.h"
#include "exporter.h"
#include "listeners.h"
#include "log.h"
#include "log_writer.h"
#include "loop.h"
#include "protocol.h"
#include "pulse.h"
#include "requests.h"
#include "retain.h"
#include "rights.h"
#include "server.h"
#include "status_writer.h"
#include "watchers.h"

struct server {
	struct program *program;
	const struct conf *conf; /* the program's */
	struct loop *loop;
	struct watch signals;
	struct timer look, status_timer, watchdog;
	uint64_t watchdog_us; /* 0: none */
	struct listeners listeners;
	struct conns conns;
	struct log_writer *log_writer;
	struct commit commit;
	struct batch *batch;
	struct protocol *protocol;
	struct watchers watchers;
	struct requests requests;
	struct rights rights;
	struct retain retain;
	struct status_writer status_writer;
	struct pulse pulse;
	struct after_commit after_commit;
	struct exporter *exporter; /* NULL: no otlp_endpoint */
	struct watchers_news news; /* of the last ring */
	size_t n_own_fds;          /* besides the connections */
	struct log_gate slow_gate;
	bool again; /* lines are left: do not wait for others */
	bool stopping;
	bool lingering; /* all is answered */
	uint64_t stop_by_us;
};

/* ---- server_timers.c ---------------------------------------------------- */

void server_start_timers(struct server *s);

/* Somebody has begun to watch: look more often from now on. */
void server_look_sooner(struct server *s);

/* What pubd's row will say of how things stand. */
void server_take_metrics(struct server *s);

#endif
