/* SPDX-License-Identifier: MIT */
/* The commands' connection to pubd. */
#include "cli_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "cli_common.h"
#include "clock.h"

#define IN_BYTES  262144 /* many times the longest answer */
#define OUT_BYTES 1024   /* of one short request */
#define RETRY_US  10000

enum status
cli_link_open(struct sock_client *c, const char *path, size_t max_out,
    uint64_t deadline_us, struct errmsg *err)
{
	enum status st;

	while ((st = sock_client_open(c, path, max_out, IN_BYTES, err)) ==
		ST_BUSY &&
	    clock_mono_us() < deadline_us)
		cli_pause_us(RETRY_US);
	return st;
}

/* Sends what waits and reads once.  ST_OK: look at what has come. */
static enum status
link_turn(struct sock_client *c, uint64_t deadline_us)
{
	enum status st = sock_client_flush(c);
	short events = POLLIN;

	if (st == ST_AGAIN)
		events |= POLLOUT;
	else if (st != ST_OK)
		return st;
	if (!sock_client_wait(c, events, deadline_us))
		return ST_AGAIN;
	st = sock_client_receive(c);
	return st == ST_AGAIN ? ST_OK : st;
}

static enum status
link_call(struct cli_answer *out, struct span request, uint64_t deadline_us)
{
	enum status st = sock_client_put(&out->client, request);
	struct span line;

	while (st == ST_OK && sock_client_line(&out->client, &line) != ST_OK)
		st = link_turn(&out->client, deadline_us);
	return st == ST_OK ? wire_get_answer(&out->values, line, &out->a) : st;
}

static void
link_explain(enum status st, struct errmsg *err)
{
	if (st == ST_AGAIN)
		errmsg_set(err,
		    "pubd took the connection and does not answer: "
		    "look at its log, and whether it runs");
	else if (st == ST_END)
		errmsg_set(err, "pubd closed the connection: look at its log");
	else if (st == ST_INVALID)
		errmsg_set(err,
		    "what listens there does not answer as pubd does: look "
		    "which program it is");
	else
		errmsg_set(err, "the connection to pubd failed: %s",
		    st == ST_IO ? strerror(errno) : status_name(st));
}

enum status
cli_link_ask(const char *path, struct span request, uint64_t timeout_us,
    struct cli_answer *out, struct errmsg *err)
{
	uint64_t deadline_us = clock_mono_us() + timeout_us;
	enum status st;

	*out = (struct cli_answer){.client = SOCK_CLIENT_NONE};
	st = cli_link_open(&out->client, path, OUT_BYTES, deadline_us, err);
	if (st != ST_OK)
		return st;
	st = values_init(&out->values);
	if (st == ST_OK)
		st = link_call(out, request, deadline_us);
	if (st != ST_OK)
		link_explain(st, err);
	return st;
}

void
cli_answer_fini(struct cli_answer *a)
{
	sock_client_close(&a->client);
	values_fini(&a->values);
}
