/* SPDX-License-Identifier: MIT */
/* Streams of system.status over real descriptors, with a clock that waits. */
#include "status_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "record.h"
#include "unit.h"

#define BIG         300000
#define INTERVAL_MS 20
#define TEXT_MAX    4096

struct fixture {
	struct loop *loop;
	struct status_streams *ss;
	int n_looks;
	size_t size; /* of what a look gives */
	enum status look_is;
};

static enum status
on_look(void *arg, struct buf *json, struct frame_open *open)
{
	struct fixture *f = arg;
	enum status st = f->look_is;
	size_t start = json->len, i;

	f->n_looks++;
	open->head = 46;
	open->oldest = 1;
	open->generation = SPAN("gen");
	open->server_time_ms = 5;
	if (st != ST_OK)
		return st;
	buf_addf(json, "{\"look\":%d}", f->n_looks);
	for (i = 0; i < f->size; i++)
		buf_add(json, SPAN(" "));
	return buf_finish(json, start);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct status_stream_options o = {.interval_ms = INTERVAL_MS,
	    .retry_ms = 3000,
	    .look = on_look,
	    .arg = f};

	(void)signal(SIGPIPE, SIG_IGN);
	assert_status(loop_new(&f->loop), ST_OK);
	assert_status(status_streams_new(&f->ss, f->loop, &o), ST_OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	status_streams_free(&f->ss);
	loop_free(&f->loop);
	free(f);
	return 0;
}

/* A stream on a socket; returns the other end. */
static int
open_stream(struct fixture *f, uint16_t request_id)
{
	int fds[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_status(status_streams_open(f->ss, fds[0], request_id), ST_OK);
	return fds[1];
}

static void
turn(struct fixture *f)
{
	assert_status(loop_turn(f->loop, 2000000), ST_OK);
	status_streams_reap(f->ss);
}

/* The content of records of STDOUT, with '\0' behind. */
static size_t
unframe(const char *raw, size_t len, char *out)
{
	size_t at = 0, to = 0;

	while (at + RECORD_HEADER_BYTES <= len) {
		struct record_header h = record_decode(
		    span_of(raw + at, len - at));

		at += RECORD_HEADER_BYTES;
		if (h.type == RECORD_STDOUT) {
			memcpy(out + to, raw + at, h.content_len);
			to += h.content_len;
		}
		at += h.content_len;
	}
	out[to] = '\0';
	return to;
}

/* The text that lies in the socket. */
static size_t
take(int fd, char *out)
{
	static char raw[TEXT_MAX];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, raw + len, sizeof(raw) - len)) > 0)
		len += (size_t)n;
	return unframe(raw, len, out);
}

static void
it_begins_with_head_and_metrics_in_one_record(void **state)
{
	struct fixture *f = *state;
	char raw[4096];
	int fd = open_stream(f, 7);
	ssize_t n = read(fd, raw, sizeof(raw) - 1);
	struct record_header h = record_decode(span_of(raw, sizeof(raw)));

	assert_int_equal(n, RECORD_HEADER_BYTES + h.content_len);
	assert_int_equal(h.request_id, 7);
	raw[n] = '\0';
	assert_int_equal(strncmp(raw + 8, "Status: 200 OK\r\n", 16), 0);
	assert_non_null(strstr(raw + 8, "\r\n\r\nretry: "));
	assert_non_null(strstr(raw + 8,
	    "\"generation\":\"gen\",\"head\":46,\"oldest\":1,"
	    "\"resumed_from\":null,\"heartbeat_ms\":20,"
	    "\"server_time_ms\":5}\n\n"
	    "event: system.status\ndata: {\"look\":1}\n\n"));
	assert_null(strstr(raw + 8, "\nid:"));
	(void)close(fd);
}

static void
one_look_serves_all_streams_each_second(void **state)
{
	struct fixture *f = *state;
	char text[TEXT_MAX];
	int fd[3], i;

	for (i = 0; i < 3; i++)
		fd[i] = open_stream(f, 1);
	assert_int_equal(f->n_looks, 1);
	for (i = 0; i < 3; i++)
		(void)take(fd[i], text);
	while (f->n_looks < 2)
		turn(f);
	for (i = 0; i < 3; i++) {
		(void)take(fd[i], text);
		assert_string_equal(text,
		    "event: system.status\ndata: {\"look\":2}\n\n");
		(void)close(fd[i]);
	}
}

static void
nobody_looks_when_the_last_has_left(void **state)
{
	struct fixture *f = *state;
	int fd = open_stream(f, 1);

	(void)close(fd);
	while (status_streams_count(f->ss) > 0)
		turn(f);
	assert_status(loop_turn(f->loop, INTERVAL_MS * 2000), ST_OK);
	assert_int_equal(f->n_looks, 1);
}

static void
plain_cgi_gets_the_bytes_bare(void **state)
{
	struct fixture *f = *state;
	char text[TEXT_MAX];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_status(status_streams_open(f->ss, fds[1], 0), ST_OK);
	assert_true((fcntl(fds[1], F_GETFL) & O_NONBLOCK) != 0);
	assert_true(read(fds[0], text, sizeof(text)) > 16);
	assert_int_equal(strncmp(text, "Status: 200 OK\r\n", 16), 0);
	(void)close(fds[0]);
	while (status_streams_count(f->ss) > 0)
		turn(f);
}

static void
past_the_most_the_descriptor_stays_the_caller_s(void **state)
{
	struct fixture *f = *state;
	int fd[STATUS_STREAM_MAX], extra[2], i;

	for (i = 0; i < STATUS_STREAM_MAX; i++)
		fd[i] = open_stream(f, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), 0);
	assert_status(status_streams_open(f->ss, extra[0], 1), ST_FULL);
	assert_int_equal(close(extra[0]), 0);
	(void)close(extra[1]);
	for (i = 0; i < STATUS_STREAM_MAX; i++)
		(void)close(fd[i]);
}

/* It gets what it had begun to take, and then the newest. */
static void
a_slow_reader_skips_and_never_queues(void **state)
{
	static char raw[4 * BIG], text[4 * BIG];
	struct fixture *f = *state;
	size_t len = 0;
	int fd;

	f->size = BIG;
	fd = open_stream(f, 1);
	while (f->n_looks < 4)
		turn(f);
	f->size = 0;
	while (memmem(raw, len, "{\"look\":5}", 10) == NULL) {
		ssize_t n = read(fd, raw + len, sizeof(raw) - len);

		if (n > 0)
			len += (size_t)n;
		else
			turn(f);
	}
	len = unframe(raw, len, text);
	assert_true(len > BIG && len < 2 * BIG);
	assert_non_null(strstr(text, "{\"look\":1} "));
	assert_null(strstr(text, "{\"look\":2}"));
	assert_null(strstr(text, "{\"look\":4}"));
	assert_non_null(strstr(text,
	    "\n\nevent: system.status\n"
	    "data: {\"look\":5}\n\n"));
	(void)close(fd);
}

static void
told_to_end_they_say_so_and_close(void **state)
{
	struct fixture *f = *state;
	char raw[TEXT_MAX], last[RECORD_END_BYTES];
	int fd = open_stream(f, 1);
	ssize_t n;

	(void)take(fd, raw);
	status_streams_drain(f->ss);
	status_streams_reap(f->ss);
	assert_int_equal(status_streams_count(f->ss), 0);
	n = read(fd, raw, sizeof(raw) - 1);
	assert_true(n > RECORD_END_BYTES);
	raw[n] = '\0';
	assert_non_null(strstr(raw + 8,
	    "event: control.close\ndata: {\"reason\":\"drain\","));
	record_end(last, 1, 0);
	assert_memory_equal(raw + n - RECORD_END_BYTES, last, sizeof(last));
	assert_int_equal(read(fd, raw, 1), 0);
	(void)close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_status(status_streams_open(f->ss, fd, 1), ST_FULL);
	(void)close(fd);
}

static void
a_look_that_fails_is_told_or_leaves_a_second_out(void **state)
{
	struct fixture *f = *state;
	char text[TEXT_MAX];
	int fds[2], fd;

	f->look_is = ST_NOMEM;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_status(status_streams_open(f->ss, fds[0], 1), ST_NOMEM);
	assert_int_equal(close(fds[0]), 0);
	(void)close(fds[1]);
	f->look_is = ST_OK;
	fd = open_stream(f, 1);
	(void)take(fd, text);
	f->look_is = ST_NOMEM;
	while (f->n_looks < 3)
		turn(f);
	assert_int_equal(take(fd, text), 0);
	f->look_is = ST_OK;
	while (f->n_looks < 4)
		turn(f);
	turn(f);
	assert_true(take(fd, text) > 0);
	assert_int_equal(status_streams_count(f->ss), 1);
	(void)close(fd);
}

static void
an_allocation_that_fails_leaves_the_descriptor(void **state)
{
	struct fixture *f = *state;
	enum status st;
	unsigned n = 0;
	int fds[2];

	do {
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
		    0);
		fault_alloc_at(++n);
		st = status_streams_open(f->ss, fds[0], 1);
		if (st != ST_OK) {
			assert_status(st, ST_NOMEM);
			assert_int_equal(close(fds[0]), 0);
		}
		(void)close(fds[1]);
	} while (fault_hit());
	assert_true(n > 2);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(it_begins_with_head_and_metrics_in_one_record),
	    TEST(one_look_serves_all_streams_each_second),
	    TEST(nobody_looks_when_the_last_has_left),
	    TEST(plain_cgi_gets_the_bytes_bare),
	    TEST(past_the_most_the_descriptor_stays_the_caller_s),
	    TEST(a_slow_reader_skips_and_never_queues),
	    TEST(told_to_end_they_say_so_and_close),
	    TEST(a_look_that_fails_is_told_or_leaves_a_second_out),
	    TEST(an_allocation_that_fails_leaves_the_descriptor),
	};

	return RUN(tests);
}
