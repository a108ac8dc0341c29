/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as FastCGI records: the scan reads nothing that is not there, how
 * the bytes arrive in pieces does not change what it finds, and what it lets
 * through libfcgi parses to the end without harm.
 */
#include "record.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgx.h"
#include "fuzz.h"

static enum status
scan(const uint8_t *data, size_t size, struct record_scan *out)
{
	char *exact = malloc(size > 0 ? size : 1);
	enum status st;

	MUST(exact != NULL);
	if (size > 0)
		memcpy(exact, data, size);
	st = record_scan(span_of(exact, size), out);
	free(exact);
	return st;
}

#define BODY_KEPT 64

/* Nothing may be left in the socket: a close would reset it. */
static void
feed_libfcgi(const uint8_t *data, size_t size)
{
	static struct params params;
	static bool ready;
	enum status st;
	char byte;
	int fds[2];

	if (!ready)
		MUST(fcgx_init() == ST_OK);
	ready = true;
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	MUST(write(fds[1], data, size) == (ssize_t)size);
	params_init(&params);
	params_keep_body(&params, BODY_KEPT);
	st = fcgx_read(fds[0], &params);
	MUST(st == ST_OK || st == ST_INVALID || st == ST_FULL);
	MUST(params_body(&params).len <= BODY_KEPT);
	if (st == ST_OK)
		MUST(read(fds[0], &byte, 1) == -1);
	params_fini(&params);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
check_pieces(const uint8_t *data, size_t size, enum status st, size_t whole)
{
	struct record_scan part;
	size_t cut;

	for (cut = size; cut > 0 && size - cut < 64;) {
		enum status before = scan(data, --cut, &part);

		if (st == ST_AGAIN || (st == ST_OK && cut < whole))
			MUST(before == ST_AGAIN);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_scan out;
	enum status st = scan(data, size, &out);

	switch (st) {
	case ST_OK:
		MUST(out.request_id != 0);
		MUST(out.request_bytes >= 2 * RECORD_HEADER_BYTES);
		MUST(out.request_bytes <= size);
		if (!out.aborted)
			feed_libfcgi(data, size);
		break;
	case ST_AGAIN:
		MUST(size < RECORD_REQUEST_MAX);
		break;
	default:
		MUST(st == ST_INVALID || st == ST_TOOLARGE);
		MUST(out.reason != NULL);
		break;
	}
	check_pieces(data, size, st, out.request_bytes);
	return 0;
}
