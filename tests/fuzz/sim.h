/* SPDX-License-Identifier: MIT */
/*
 * A kernel for the stream worker's hub, without system calls: loop.h over
 * descriptors that are numbers, with a clock that goes on when it is told to,
 * and the web server's end of each connection.  What a write takes is decided
 * by the fuzzer, to the byte (the linker wraps write, read and close).
 */
#ifndef WALCAST_FUZZ_SIM_H
#define WALCAST_FUZZ_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"

#define SIM_CONNS    8
#define SIM_NO_LIMIT (-1)

/* A web server's end of a connection; its reading never stops. */
struct sim_conn {
	bool is_open;     /* on the hub's side */
	bool left;        /* the peer has gone */
	bool sends_abort; /* an ABORT_REQUEST waits to be read */
	bool cgi;         /* plain text, no records */
	int64_t budget;   /* bytes that writes still take; SIM_NO_LIMIT */
	struct buf text;  /* content of STDOUT that nobody has judged yet */
	char head[RECORD_HEADER_BYTES];
	size_t n_head, rest; /* of the record that is coming in */
	bool empty_stdout, end_request;
};

/* Opens connection n; returns the hub's descriptor of it. */
int sim_open(unsigned n, bool cgi);
struct sim_conn *sim_conn(unsigned n);

/* Time passes; timers that are due run in the next turn. */
void sim_pass(uint64_t us);

#endif
