/* SPDX-License-Identifier: MIT */
/* Short responses on their way out, over real descriptors. */
#include "reply.h"

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

struct fixture {
	struct loop *loop;
	struct reply_set *rs;
	int ours, theirs;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	(void)signal(SIGPIPE, SIG_IGN);
	assert_status(loop_new(&f->loop), ST_OK);
	assert_status(reply_set_new(&f->rs, f->loop), ST_OK);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	f->ours = fds[0];
	f->theirs = fds[1];
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	reply_set_free(&f->rs);
	loop_free(&f->loop);
	if (f->theirs >= 0)
		(void)close(f->theirs);
	free(f);
	return 0;
}

static void
turn(struct fixture *f)
{
	assert_status(loop_turn(f->loop, 0), ST_OK);
	reply_set_reap(f->rs);
}

/* Reads to the end, turning the loop whenever there is nothing to read. */
static size_t
read_all(struct fixture *f, char *out, size_t cap)
{
	size_t len = 0;
	ssize_t n;

	for (;;) {
		n = read(f->theirs, out + len, cap - len);
		if (n == 0)
			return len;
		if (n > 0) {
			len += (size_t)n;
			assert_true(len < cap);
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		turn(f);
	}
}

static void
a_short_response_is_out_and_closed_at_once(void **state)
{
	static const char want[] = "\1\6\0\7\0\5\0\0hello"
				   "\1\6\0\7\0\0\0\0"
				   "\1\3\0\7\0\10\0\0\0\0\0\0\0\0\0";
	struct fixture *f = *state;
	char got[256];

	reply_send(f->rs, f->ours, 7, SPAN("hello"));
	assert_int_equal(reply_set_count(f->rs), 0);
	assert_int_equal(read_all(f, got, sizeof(got)), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(fcntl(f->ours, F_GETFD), -1);
}

static void
an_empty_response_is_only_the_end(void **state)
{
	struct fixture *f = *state;
	char got[256];

	reply_send(f->rs, f->ours, 1, SPAN_NONE);
	assert_int_equal(read_all(f, got, sizeof(got)), RECORD_END_BYTES);
}

/* Takes the records apart; returns the bytes of STDOUT. */
static size_t
check_records(const char *got, size_t len, const char *want)
{
	size_t at = 0, body = 0, n_records = 0;

	while (at < len) {
		struct record_header h = record_decode(
		    span_of(got + at, len - at));

		at += RECORD_HEADER_BYTES;
		if (h.type == RECORD_STDOUT) {
			assert_memory_equal(got + at, want + body,
			    h.content_len);
			body += h.content_len;
		}
		at += h.content_len;
		n_records++;
	}
	assert_int_equal(at, len);
	assert_true(n_records >= 2);
	return body;
}

static void
a_long_response_is_cut_into_records_and_waits_for_the_peer(void **state)
{
	static const size_t sizes[] = {65535, 65536, 131070, 2000000};
	struct fixture *f = *state;
	char *big = malloc(2000000), *got = malloc(3000000);
	size_t i, len;

	for (i = 0; i < 2000000; i++)
		big[i] = (char)('a' + i % 23);
	for (i = 0; i < 4; i++) {
		reply_send(f->rs, f->ours, 1, span_of(big, sizes[i]));
		if (sizes[i] == 2000000)
			assert_int_equal(reply_set_count(f->rs), 1);
		len = read_all(f, got, 3000000);
		assert_int_equal(check_records(got, len, big), sizes[i]);
		turn(f);
		assert_int_equal(reply_set_count(f->rs), 0);
		(void)teardown(state);
		(void)setup(state);
		f = *state;
	}
	(void)close(f->ours);
	free(big);
	free(got);
}

static void
a_peer_that_left_ends_its_reply(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, 2000000);

	reply_send(f->rs, f->ours, 1, span_of(big, 2000000));
	assert_int_equal(reply_set_count(f->rs), 1);
	(void)close(f->theirs);
	f->theirs = -1;
	turn(f);
	assert_int_equal(reply_set_count(f->rs), 0);
	free(big);
}

static void
what_the_peer_still_sends_does_not_cost_it_the_response(void **state)
{
	struct fixture *f = *state;
	char got[256];

	assert_int_equal(write(f->theirs, "unread", 6), 6);
	reply_send(f->rs, f->ours, 1, SPAN("hello"));
	assert_int_equal(reply_set_count(f->rs), 1);
	assert_int_equal(write(f->theirs, "more", 4), 4);
	turn(f);
	assert_int_equal(reply_set_count(f->rs), 1);
	assert_int_equal(read_all(f, got, sizeof(got)),
	    RECORD_HEADER_BYTES + 5 + RECORD_END_BYTES);
	(void)close(f->theirs);
	f->theirs = -1;
	turn(f);
	assert_int_equal(reply_set_count(f->rs), 0);
}

static void
replies_that_wait_are_dropped_with_their_set(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, 2000000);

	reply_send(f->rs, f->ours, 1, span_of(big, 2000000));
	reply_set_free(&f->rs);
	assert_null(f->rs);
	assert_int_equal(fcntl(f->ours, F_GETFD), -1);
	free(big);
}

static void
a_pipe_gets_the_response_as_it_is(void **state)
{
	struct fixture *f = *state;
	char got[64];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	reply_send(f->rs, fds[1], REPLY_RAW, SPAN("Status: 200\r\n\r\n"));
	assert_int_equal(reply_set_count(f->rs), 0);
	assert_int_equal(read(fds[0], got, sizeof(got)), 15);
	assert_int_equal(read(fds[0], got, sizeof(got)), 0);
	(void)close(fds[0]);
	(void)close(f->ours);
}

static void
a_full_pipe_is_waited_for(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, 300000), *got = calloc(1, 400000);
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	reply_send(f->rs, fds[1], REPLY_RAW, span_of(big, 300000));
	assert_int_equal(reply_set_count(f->rs), 1);
	(void)close(f->theirs);
	f->theirs = fds[0];
	assert_int_equal(read_all(f, got, 400000), 300000);
	free(big);
	free(got);
	(void)close(f->ours);
}

static void
a_regular_file_gets_all_of_it(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/walcast-reply-XXXXXX";
	char *big = calloc(1, 300000);
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	reply_send(f->rs, dup(fd), REPLY_RAW, span_of(big, 300000));
	assert_int_equal(reply_set_count(f->rs), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 300000);
	(void)close(fd);
	(void)unlink(path);
	(void)close(f->ours);
	free(big);
}

static void
a_closed_pipe_is_no_harm(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	(void)close(fds[0]);
	reply_send(f->rs, fds[1], REPLY_RAW, SPAN("x"));
	assert_int_equal(reply_set_count(f->rs), 0);
	(void)close(f->ours);
}

static void
without_memory_the_connection_is_closed_all_the_same(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;
	char c;
	int fds[2];

	do {
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
		    0);
		fault_alloc_at(++n);
		reply_send(f->rs, fds[0], 1, SPAN("hello"));
		assert_int_equal(reply_set_count(f->rs), 0);
		while (read(fds[1], &c, 1) > 0)
			;
		(void)close(fds[1]);
	} while (fault_hit());
	assert_true(n > 2);
	(void)close(f->ours);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_short_response_is_out_and_closed_at_once),
	    TEST(an_empty_response_is_only_the_end),
	    TEST(a_long_response_is_cut_into_records_and_waits_for_the_peer),
	    TEST(a_peer_that_left_ends_its_reply),
	    TEST(what_the_peer_still_sends_does_not_cost_it_the_response),
	    TEST(replies_that_wait_are_dropped_with_their_set),
	    TEST(a_pipe_gets_the_response_as_it_is),
	    TEST(a_full_pipe_is_waited_for),
	    TEST(a_regular_file_gets_all_of_it),
	    TEST(a_closed_pipe_is_no_harm),
	    TEST(without_memory_the_connection_is_closed_all_the_same),
	};

	return RUN(tests);
}
