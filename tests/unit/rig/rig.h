/* SPDX-License-Identifier: MIT */
/*
 * A hub with clients on socket pairs, for tests of the stream worker.  The
 * clients are the test's and must live as long as the rig.  What
 * the kernel takes of each write is decided by the test (the linker wraps
 * write), to the byte.
 */
#ifndef WALCAST_TEST_RIG_H
#define WALCAST_TEST_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "hub.h"
#include "loop.h"
#include "record.h"
#include "store.h"

#define RIG_CLIENTS  96
#define RIG_NO_LIMIT (-1)

struct rig_client {
	int fd;                  /* our end; -1: left */
	int server_fd;           /* the hub's end; -1: ended */
	struct stream *s;        /* NULL: ended */
	int64_t budget;          /* bytes that its writes still take */
	void (*hook)(void *arg); /* called once, before the next write */
	void *hook_arg;
	struct buf text; /* the content of its STDOUT records */
	unsigned char head[RECORD_HEADER_BYTES];
	size_t n_head, left; /* of the record that is being read */
	size_t n_records;
	bool cgi;
	bool at_eof, end_request, empty_stdout;
};

struct rig {
	struct loop *loop;
	struct hub *hub;
	struct hub_options options;
	struct rig_client *client[RIG_CLIENTS];
	size_t n_clients;
	size_t n_ended;
};

/* ring_bytes, heartbeat_us and limits come from o; zero gives defaults. */
void rig_init(struct rig *r, const struct hub_options *o);
void rig_fini(struct rig *r);

struct rig_wish {
	const char *channels; /* comma separated */
	const char *events;   /* the same; NULL: all */
	bool envelope, cgi, heartbeat_events;
	int64_t cursor;
	uint64_t end_us;
	enum front front;
};

/* A stream that starts at the wish's cursor. */
void rig_join(struct rig *r, struct rig_client *c, const struct rig_wish *w);
void rig_leave(struct rig_client *c);

/* Reads what has come. */
void rig_read(struct rig_client *c);

/* The text that came since the last rig_forget. */
struct span rig_text(struct rig_client *c);
void rig_forget(struct rig_client *c);

/* A turn of the worker's loop, without tail and pages. */
void rig_turn(struct rig *r);

/* Turns until nothing is left to serve (at most `max`); all clients read. */
void rig_settle(struct rig *r, int max);

struct event rig_event(int64_t id, const char *channel, struct span data);

/* Takes and dispatches one event. */
void rig_push(struct rig *r, int64_t id, const char *channel, struct span data);

/* The subscription of a wish, and a reference on it. */
struct sub *rig_sub(struct subs *subs, const struct rig_wish *w);

#endif
