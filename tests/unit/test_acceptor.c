/* SPDX-License-Identifier: MIT */
/* From a listening socket to a request: half of one, none, or nonsense is
 * felt by nobody. */
#include "acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "fault.h"
#include "fcgx.h"
#include "log.h"
#include "record.h"
#include "tmpdir.h"
#include "unit.h"

struct fixture {
	char *tmp;
	struct sockaddr_un address;
	struct loop *loop;
	struct acceptor *in;
	struct acceptor_options o;
	int taken[64]; /* descriptors that were handed over */
	unsigned n_taken;
	uint16_t request_id;
	char name[64]; /* the parameter NAME of the last request */
	struct buf body;
};

static void
on_ready(void *arg, int fd, uint16_t request_id, const struct params *params)
{
	struct fixture *f = arg;
	struct span name = params_get(params, "NAME");

	assert_true(f->n_taken < 64);
	assert_true(name.len < sizeof(f->name));
	f->taken[f->n_taken++] = fd;
	f->request_id = request_id;
	memcpy(f->name, name.p == NULL ? "" : name.p, name.len);
	f->name[name.len] = '\0';
	buf_clear(&f->body);
	if (params_body(params).len > 0)
		assert_status(buf_append(&f->body, params_body(params)), ST_OK);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *tmp = NULL;

	if (f == NULL || tmpdir_setup(&tmp) != 0 || fcgx_init() != ST_OK)
		return -1;
	log_init("test", LOG_TEXT, LOG_ERROR_);
	f->tmp = tmp;
	buf_init(&f->body, 1u << 17);
	f->address.sun_family = AF_UNIX;
	(void)snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/s",
	    f->tmp);
	f->o = (struct acceptor_options){
	    .listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0),
	    .timeout_us = 10000000,
	    .max_waiting = 40,
	    .ready = on_ready,
	    .arg = f};
	*state = f;
	if (buf_reserve(&f->body, 1u << 17) != ST_OK)
		return -1;
	if (bind(f->o.listener, (struct sockaddr *)&f->address,
		sizeof(f->address)) < 0 ||
	    listen(f->o.listener, 64) < 0 || loop_new(&f->loop) != ST_OK)
		return -1;
	return acceptor_new(&f->in, f->loop, &f->o) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *tmp = f->tmp;
	int rc;

	while (f->n_taken > 0)
		(void)close(f->taken[--f->n_taken]);
	acceptor_free(&f->in);
	loop_free(&f->loop);
	(void)close(f->o.listener);
	buf_fini(&f->body);
	rc = tmpdir_teardown(&tmp);
	free(f);
	return rc;
}

static int
connect_to(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(
	    connect(fd, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	return fd;
}

static void
turn(struct fixture *f)
{
	int i;

	for (i = 0; i < 3; i++) {
		assert_status(loop_turn(f->loop, 0), ST_OK);
		acceptor_reap(f->in);
	}
}

static void
put_record(struct buf *b, enum record_type type, uint16_t id,
    struct span content)
{
	char head[RECORD_HEADER_BYTES];

	record_encode(head, type, id, content.len);
	assert_status(buf_append(b, span_of(head, sizeof(head))), ST_OK);
	assert_status(buf_append(b, content), ST_OK);
}

/* A whole request of the given id with NAME=value and a body. */
static void
put_request(struct buf *b, uint16_t id, struct span body)
{
	buf_init(b, 1u << 20);
	put_record(b, RECORD_BEGIN_REQUEST, id, SPAN("\0\1\1\0\0\0\0\0"));
	put_record(b, RECORD_PARAMS, id, SPAN("\4\5NAMEvalue"));
	put_record(b, RECORD_PARAMS, id, SPAN(""));
	if (body.len > 0)
		put_record(b, RECORD_STDIN, id, body);
	put_record(b, RECORD_STDIN, id, SPAN(""));
}

static void
put_bytes(int fd, struct span s)
{
	assert_int_equal(send(fd, s.p, s.len, MSG_NOSIGNAL), (int)s.len);
}

/* Has the other side hung up? */
static bool
is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static void
a_request_that_comes_at_once_is_handed_over(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	char byte;
	int fd = connect_to(f);

	put_request(&b, 7, SPAN("the body"));
	put_bytes(fd, buf_span(&b));
	turn(f);
	assert_int_equal(f->n_taken, 1);
	assert_int_equal(f->request_id, 7);
	assert_string_equal(f->name, "value");
	assert_int_equal(f->body.len, 0); /* nobody wanted it */
	assert_int_equal(acceptor_waiting(f->in), 0);
	assert_false(is_closed(fd));
	/* Nothing of it is left to be taken for an abort. */
	assert_int_equal(recv(f->taken[0], &byte, 1, MSG_DONTWAIT), -1);
	buf_fini(&b);
	(void)close(fd);
}

static void
a_request_in_pieces_is_handed_over_when_it_is_whole(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	size_t step, at;

	put_request(&b, 1, SPAN("the body"));
	for (step = 1; step < b.len; step = step * 2 + 1) {
		unsigned before = f->n_taken;
		int fd = connect_to(f);

		for (at = 0; at < b.len; at += step) {
			size_t n = b.len - at < step ? b.len - at : step;

			assert_int_equal(f->n_taken, before);
			put_bytes(fd, span_of(buf_span(&b).p + at, n));
			turn(f);
		}
		assert_int_equal(f->n_taken, before + 1);
		assert_string_equal(f->name, "value");
		(void)close(fd);
	}
	buf_fini(&b);
}

/* From here on so many bytes of a body are kept. */
static void
want_body(struct fixture *f, size_t max_bytes)
{
	acceptor_free(&f->in);
	f->o.body_bytes = max_bytes;
	assert_status(acceptor_new(&f->in, f->loop, &f->o), ST_OK);
}

static void
a_body_is_kept_up_to_its_bound_and_the_rest_read_away(void **state)
{
	static const size_t sizes[] = {0, 1, 99, 100, 101, 5000, 60000};
	static char text[60000];
	struct fixture *f = *state;
	struct buf b;
	char byte;
	size_t i;

	want_body(f, 100);
	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t kept = sizes[i] < 100 ? sizes[i] : 100;
		int fd = connect_to(f);

		put_request(&b, 1, span_of(text, sizes[i]));
		put_bytes(fd, buf_span(&b));
		turn(f);
		assert_int_equal(f->n_taken, i + 1);
		assert_span(buf_span(&f->body), span_of(text, kept));
		assert_string_equal(f->name, "value");
		assert_int_equal(recv(f->taken[i], &byte, 1, MSG_DONTWAIT), -1);
		assert_false(is_closed(fd));
		buf_fini(&b);
		(void)close(fd);
	}
}

static void
a_body_in_records_and_pieces_is_one(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	size_t at;
	int fd = connect_to(f);

	want_body(f, 4097);
	put_request(&b, 1, SPAN("the "));
	buf_truncate(&b, b.len - RECORD_HEADER_BYTES);
	put_record(&b, RECORD_STDIN, 1, SPAN("bo"));
	put_record(&b, RECORD_STDIN, 1, SPAN("dy\0"));
	put_record(&b, RECORD_STDIN, 1, SPAN(""));
	for (at = 0; at < b.len; at++) {
		assert_int_equal(f->n_taken, 0);
		put_bytes(fd, span_of(buf_span(&b).p + at, 1));
		turn(f);
	}
	assert_int_equal(f->n_taken, 1);
	assert_span(buf_span(&f->body), SPAN("the body\0"));
	buf_fini(&b);
	(void)close(fd);
}

static void
a_body_does_not_reach_the_next_request(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int i;

	want_body(f, 100);
	for (i = 0; i < 2; i++) {
		int fd = connect_to(f);

		put_request(&b, 1, i == 0 ? SPAN("a body") : SPAN_NONE);
		put_bytes(fd, buf_span(&b));
		turn(f);
		buf_fini(&b);
		(void)close(fd);
	}
	assert_int_equal(f->n_taken, 2);
	assert_int_equal(f->body.len, 0);
}

static void
half_requests_by_the_dozen_hold_up_nobody(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int half[30], fd, i;

	put_request(&b, 1, SPAN_NONE);
	for (i = 0; i < 30; i++) {
		half[i] = connect_to(f);
		put_bytes(half[i], span_of(buf_span(&b).p, (size_t)i));
	}
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 30);
	fd = connect_to(f);
	put_bytes(fd, buf_span(&b));
	turn(f);
	assert_int_equal(f->n_taken, 1);
	for (i = 0; i < 30; i += 2)
		(void)close(half[i]);
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 15);
	put_bytes(half[1], span_skip(buf_span(&b), 1));
	turn(f);
	assert_int_equal(f->n_taken, 2);
	acceptor_free(&f->in); /* with fourteen that wait */
	for (i = 3; i < 30; i += 2) {
		assert_true(is_closed(half[i]));
		(void)close(half[i]);
	}
	(void)close(half[1]);
	(void)close(fd);
	buf_fini(&b);
}

static void
a_request_that_does_not_come_is_cut_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	int fd;

	acceptor_free(&f->in);
	f->o.timeout_us = 1000;
	assert_status(acceptor_new(&f->in, f->loop, &f->o), ST_OK);
	fd = connect_to(f);
	while (acceptor_counters(f->in)->n_timeouts == 0)
		assert_status(loop_turn(f->loop, 10000), ST_OK);
	turn(f);
	assert_true(is_closed(fd));
	assert_int_equal(acceptor_waiting(f->in), 0);
	(void)close(fd);
}

static void
nonsense_is_refused(void **state)
{
	static const struct span nonsense[] = {
	    SPAN("GET / HTTP/1.1\r\n\r\n"),
	    SPAN("\1\1\0\0\0\10\0\0\0\1\0\0\0\0\0\0"), /* id 0 */
	    SPAN("\1\11\0\1\0\0\0\0"),
	    SPAN("\1\1\0\1\0\10\0\0\0\2\0\0\0\0\0\0"), /* authorizer */
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		int fd = connect_to(f);

		put_bytes(fd, nonsense[i]);
		turn(f);
		assert_true(is_closed(fd));
		assert_int_equal(
		    acceptor_counters(f->in)->n_refused[ACCEPTOR_MALFORMED],
		    i + 1);
		(void)close(fd);
	}
	assert_int_equal(f->n_taken, 0);
}

static void
an_aborted_request_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int why;
	int fd = connect_to(f);

	put_request(&b, 1, SPAN_NONE);
	put_record(&b, RECORD_ABORT_REQUEST, 1, SPAN(""));
	put_bytes(fd, buf_span(&b));
	turn(f);
	assert_int_equal(f->n_taken, 0);
	for (why = 0; why < ACCEPTOR_REFUSALS; why++)
		assert_int_equal(acceptor_counters(f->in)->n_refused[why], 0);
	assert_true(is_closed(fd));
	buf_fini(&b);
	(void)close(fd);
}

/* Sends it all, as far as the other side takes it; returns the rest. */
static struct span
send_while_taken(struct fixture *f, int fd, struct span s)
{
	while (s.len > 0) {
		ssize_t n = send(fd, s.p, s.len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		if (n > 0)
			s = span_skip(s, (size_t)n);
		turn(f);
	}
	return s;
}

/* A request with n_records of 60,000 bytes each for its body. */
static void
put_large(struct buf *b, uint16_t id, int n_records)
{
	static char body[60000];
	int i;

	put_request(b, id, SPAN_NONE);
	b->max = 4u << 20;
	buf_truncate(b, b->len - RECORD_HEADER_BYTES);
	for (i = 0; i < n_records; i++)
		put_record(b, RECORD_STDIN, id, span_of(body, sizeof(body)));
	put_record(b, RECORD_STDIN, id, SPAN(""));
}

static void
a_request_of_more_than_64_kib_gets_an_answer(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	char got[512];
	ssize_t n;
	int fd = connect_to(f);

	put_large(&b, 3, 10);
	/* A front end that could not write all of it would say 502. */
	assert_int_equal(send_while_taken(f, fd, buf_span(&b)).len, 0);
	n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	assert_true(n > RECORD_HEADER_BYTES);
	assert_memory_equal(got, "\1\6\0\3", 4);
	assert_memory_equal(got + 8, "Status: 413", 11);
	assert_memory_equal(got + n - 16, "\1\3\0\3\0\10", 6);
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 0);
	assert_int_equal(f->n_taken, 0);
	assert_int_equal(acceptor_counters(f->in)->n_refused[ACCEPTOR_SIZE], 1);
	buf_fini(&b);
	(void)close(fd);
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 0);
}

static void
a_request_of_too_many_parameters_gets_an_answer(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	char got[1024];
	ssize_t n;
	int i, fd = connect_to(f);

	put_request(&b, 9, SPAN_NONE);
	buf_truncate(&b, b.len - 2 * RECORD_HEADER_BYTES);
	for (i = 0; i < 5000; i++)
		put_record(&b, RECORD_PARAMS, 9, SPAN("\6\1HTTP_Xy"));
	put_record(&b, RECORD_PARAMS, 9, SPAN(""));
	put_record(&b, RECORD_STDIN, 9, SPAN(""));
	assert_int_equal(send_while_taken(f, fd, buf_span(&b)).len, 0);
	n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	assert_true(n > RECORD_HEADER_BYTES);
	got[n] = '\0';
	assert_memory_equal(got + 8, "Status: 431", 11);
	assert_non_null(strstr(got + 8, "application/problem+json"));
	assert_non_null(strstr(got + 8, "\"status\":431"));
	assert_int_equal(f->n_taken, 0);
	assert_int_equal(acceptor_counters(f->in)->n_refused[ACCEPTOR_FIELDS],
	    1);
	buf_fini(&b);
	(void)close(fd);
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 0);
}

static void
what_follows_a_refusal_is_read_up_to_a_bound(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int fd = connect_to(f);

	put_large(&b, 1, 40);
	assert_true(send_while_taken(f, fd, buf_span(&b)).len > 0);
	assert_int_equal(acceptor_waiting(f->in), 0);
	assert_int_equal(acceptor_counters(f->in)->n_refused[ACCEPTOR_SIZE], 1);
	buf_fini(&b);
	(void)close(fd);
}

static void
a_refused_peer_that_stays_is_cut_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int fd = connect_to(f);

	acceptor_free(&f->in);
	f->o.timeout_us = 100000;
	assert_status(acceptor_new(&f->in, f->loop, &f->o), ST_OK);
	put_large(&b, 1, 2);
	assert_int_equal(send_while_taken(f, fd, buf_span(&b)).len, 0);
	while (acceptor_waiting(f->in) > 0)
		assert_status(loop_turn(f->loop, 10000), ST_OK);
	acceptor_reap(f->in);
	assert_int_equal(acceptor_counters(f->in)->n_refused[ACCEPTOR_SIZE], 1);
	/* Its request was not late: it has been answered. */
	assert_int_equal(acceptor_counters(f->in)->n_timeouts, 0);
	buf_fini(&b);
	(void)close(fd);
}

static void
a_first_record_of_more_than_64_kib_is_refused_at_once(void **state)
{
	static char junk[RECORD_REQUEST_MAX];
	struct fixture *f = *state;
	int fd = connect_to(f);

	memcpy(junk, "\1\1\0\1\377\377\377\0", RECORD_HEADER_BYTES);
	assert_int_equal(
	    send_while_taken(f, fd, span_of(junk, sizeof(junk))).len, 0);
	assert_true(is_closed(fd));
	assert_int_equal(acceptor_counters(f->in)->n_refused[ACCEPTOR_SIZE], 1);
	assert_int_equal(acceptor_waiting(f->in), 0);
	(void)close(fd);
}

static void
accepting_pauses_at_the_bound_and_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd[50], i;

	for (i = 0; i < 50; i++)
		fd[i] = connect_to(f);
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 40);
	assert_int_equal(acceptor_counters(f->in)->n_paused, 1);
	for (i = 0; i < 40; i++)
		(void)close(fd[i]);
	while (acceptor_counters(f->in)->n_accepted < 50) {
		assert_status(loop_turn(f->loop, 200000), ST_OK);
		acceptor_reap(f->in);
	}
	turn(f);
	assert_int_equal(acceptor_waiting(f->in), 10);
	for (; i < 50; i++)
		(void)close(fd[i]);
}

static void
after_a_stop_those_that_wait_are_served_and_no_others(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	int early = connect_to(f), late;

	turn(f);
	acceptor_stop(f->in);
	late = connect_to(f);
	put_request(&b, 1, SPAN_NONE);
	put_bytes(early, buf_span(&b));
	put_bytes(late, buf_span(&b));
	turn(f);
	assert_int_equal(f->n_taken, 1);
	assert_int_equal(acceptor_counters(f->in)->n_accepted, 1);
	buf_fini(&b);
	(void)close(early);
	(void)close(late);
}

static void
without_memory_a_connection_is_closed(void **state)
{
	struct fixture *f = *state;
	struct buf b;
	unsigned n;
	int fd;

	want_body(f, 100);
	put_request(&b, 1, SPAN("body"));
	for (n = 1; n < 14; n++) {
		unsigned before = f->n_taken;

		fd = connect_to(f);
		put_bytes(fd, span_of(buf_span(&b).p, 20));
		fault_alloc_at(n);
		turn(f);
		if (!is_closed(fd)) {
			put_bytes(fd, span_skip(buf_span(&b), 20));
			turn(f);
		}
		(void)fault_hit();
		assert_true(f->n_taken == before + 1 || is_closed(fd));
		assert_int_equal(acceptor_waiting(f->in), 0);
		(void)close(fd);
	}
	buf_fini(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_request_that_comes_at_once_is_handed_over),
	    TEST(a_request_in_pieces_is_handed_over_when_it_is_whole),
	    TEST(a_body_is_kept_up_to_its_bound_and_the_rest_read_away),
	    TEST(a_body_in_records_and_pieces_is_one),
	    TEST(a_body_does_not_reach_the_next_request),
	    TEST(half_requests_by_the_dozen_hold_up_nobody),
	    TEST(a_request_that_does_not_come_is_cut_at_its_deadline),
	    TEST(nonsense_is_refused),
	    TEST(an_aborted_request_is_dropped),
	    TEST(a_request_of_more_than_64_kib_gets_an_answer),
	    TEST(a_request_of_too_many_parameters_gets_an_answer),
	    TEST(what_follows_a_refusal_is_read_up_to_a_bound),
	    TEST(a_refused_peer_that_stays_is_cut_at_its_deadline),
	    TEST(a_first_record_of_more_than_64_kib_is_refused_at_once),
	    TEST(accepting_pauses_at_the_bound_and_goes_on),
	    TEST(after_a_stop_those_that_wait_are_served_and_no_others),
	    TEST(without_memory_a_connection_is_closed),
	};

	return RUN(tests);
}
