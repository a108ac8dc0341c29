/* SPDX-License-Identifier: MIT */
/* Writing to one stream: what the kernel takes of it decides nothing. */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "record.h"
#include "unit.h"

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);

static int64_t budget = -1; /* bytes that writes still take */
static int fails_with;

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	if (fails_with != 0) {
		errno = fails_with;
		return -1;
	}
	if (budget == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (budget > 0 && n > (size_t)budget)
		n = (size_t)budget;
	if (budget > 0)
		budget -= (int64_t)n;
	return __real_write(fd, p, n);
}

struct fixture {
	struct stream s;
	struct stream_counters n;
	int fd;
	char got[8192];
	size_t len;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	if (f == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	budget = -1;
	fails_with = 0;
	f->s.watch.fd = fds[1];
	f->s.request_id = 258;
	f->fd = fds[0];
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	free(f->s.pend);
	(void)close(f->fd);
	(void)close(f->s.watch.fd);
	free(f);
	return 0;
}

static struct span
received(struct fixture *f)
{
	ssize_t n = read(f->fd, f->got + f->len, sizeof(f->got) - f->len);

	if (n > 0)
		f->len += (size_t)n;
	return span_of(f->got, f->len);
}

static void
text_is_one_record(void **state)
{
	struct fixture *f = *state;

	assert_status(stream_send_text(&f->s, SPAN("hello"), &f->n), ST_OK);
	assert_span(received(f), SPAN("\1\6\1\2\0\5\0\0hello"));
	assert_true(stream_at_border(&f->s));
	assert_int_equal(f->n.n_writes, 1);
	assert_int_equal(f->n.n_bytes, 13);
	assert_int_equal(f->n.n_short_writes, 0);
}

static void
plain_cgi_has_no_records(void **state)
{
	struct fixture *f = *state;

	f->s.request_id = 0;
	assert_status(stream_send_text(&f->s, SPAN("hello"), &f->n), ST_OK);
	assert_span(received(f), SPAN("hello"));
}

static void
text_that_was_cut_waits_and_what_follows_waits_behind_it(void **state)
{
	struct fixture *f = *state;
	int64_t cut;

	for (cut = 0; cut < 13; cut++) {
		f->len = 0;
		budget = cut;
		assert_status(stream_send_text(&f->s, SPAN("hello"), &f->n),
		    ST_AGAIN);
		assert_false(stream_at_border(&f->s));
		assert_status(stream_send_raw(&f->s, SPAN("raw"), &f->n),
		    ST_AGAIN);
		budget = 2;
		assert_status(stream_flush(&f->s, &f->n), ST_AGAIN);
		assert_status(stream_send_text(&f->s, SPAN("!"), &f->n),
		    ST_AGAIN);
		budget = -1;
		assert_status(stream_flush(&f->s, &f->n), ST_OK);
		assert_null(f->s.pend);
		assert_status(stream_flush(&f->s, &f->n), ST_OK);
		assert_span(received(f),
		    SPAN("\1\6\1\2\0\5\0\0helloraw\1\6\1\2\0\1\0\0!"));
	}
}

static void
what_cannot_wait_is_an_error(void **state)
{
	struct fixture *f = *state;
	static char big[65536];

	budget = 0;
	fault_alloc_at(1);
	assert_status(stream_send_text(&f->s, SPAN("x"), &f->n), ST_NOMEM);
	assert_true(fault_hit());
	assert_status(stream_send_raw(&f->s, span_of(big, 65536), &f->n),
	    ST_AGAIN);
	assert_status(stream_send_raw(&f->s, span_of(big, 1), &f->n), ST_NOMEM);
}

static void
a_peer_that_is_gone_is_told_apart(void **state)
{
	struct fixture *f = *state;

	fails_with = EPIPE;
	assert_status(stream_send_text(&f->s, SPAN("x"), &f->n), ST_END);
	fails_with = ECONNRESET;
	assert_status(stream_send_text(&f->s, SPAN("x"), &f->n), ST_END);
	assert_null(f->s.pend);
	assert_true(stream_at_border(&f->s));
}

static struct chunk chunk;

/* Two frames, "abc" and "defg", from where the stream stands. */
static void
fill(struct stream *s)
{
	bool exact = s->rec_left > 0;

	chunk_begin(&chunk, &s->place,
	    exact ? s->rec_left : CHUNK_CONTENT_BYTES, exact);
	if (s->place.cursor < 1 && !chunk_add(&chunk, 1, SPAN("abc"), 0))
		return;
	if (s->place.cursor < 2)
		(void)chunk_add(&chunk, 2, SPAN("defg"), 0);
}

static void
a_run_is_continued_inside_the_record_that_was_promised(void **state)
{
	struct fixture *f = *state;
	int64_t cut, again;

	for (cut = 0; cut < 15; cut++) {
		for (again = 1; again < 15; again++) {
			f->len = 0;
			f->s.place = (struct chunk_place){.cursor = 0};
			f->n.n_events = 0;
			budget = cut;
			fill(&f->s);
			assert_status(stream_send_chunk(&f->s, &chunk, &f->n),
			    ST_AGAIN);
			assert_true(stream_at_border(&f->s) == (cut == 0));
			do {
				budget = again;
				fill(&f->s);
			} while (
			    stream_send_chunk(&f->s, &chunk, &f->n) != ST_OK);
			assert_span(received(f),
			    SPAN("\1\6\1\2\0\7\0\0abcdefg"));
			assert_true(stream_at_border(&f->s));
			assert_int_equal(f->s.place.cursor, 2);
			assert_int_equal(f->n.n_events, 2);
		}
	}
}

/* The events of the example in the chunk's header file, up to `head`. */
static void
fill_colours(struct stream *s, int64_t head)
{
	static const struct span frames[] = {SPAN("id: 7\ndata: red\n\n"),
	    SPAN("id: 8\ndata: yellow\n\n"), SPAN("id: 9\ndata: green\n\n"),
	    SPAN("id: 10\ndata: blue\n\n")};
	bool exact = s->rec_left > 0;
	int64_t id;

	chunk_begin(&chunk, &s->place,
	    exact ? s->rec_left : CHUNK_CONTENT_BYTES, exact);
	for (id = s->place.cursor + 1; id <= head; id++)
		if (!chunk_add(&chunk, id, frames[id - 7], 0))
			return;
}

#define ASSERT_PLACE(s, at, part, bytes, left)                                 \
	do {                                                                   \
		assert_int_equal((s)->place.cursor, at);                       \
		assert_int_equal((s)->place.part_id, part);                    \
		assert_int_equal((s)->place.off, bytes);                       \
		assert_int_equal((s)->rec_left, left);                         \
	} while (0)

/* Puts together what is next, and has the kernel take so much of it. */
static void
write_colours(struct fixture *f, int64_t head, int64_t takes, enum status want)
{
	fill_colours(&f->s, head);
	budget = takes;
	assert_status(stream_send_chunk(&f->s, &chunk, &f->n), want);
	budget = -1;
}

static void
the_example_of_a_write_that_was_cut_is_true(void **state)
{
	struct fixture *f = *state;

	f->s.place = (struct chunk_place){.cursor = 6};
	write_colours(f, 9, 40, ST_AGAIN);
	assert_int_equal(chunk.len, 56);
	ASSERT_PLACE(&f->s, 7, 8, 15, 24);
	write_colours(f, 10, 2, ST_AGAIN);
	assert_int_equal(chunk.len, 24);
	ASSERT_PLACE(&f->s, 7, 8, 17, 22);
	write_colours(f, 10, 22, ST_OK);
	assert_int_equal(chunk.len, 22);
	ASSERT_PLACE(&f->s, 9, 0, 0, 0);
	assert_true(stream_at_border(&f->s));
	assert_span(received(f),
	    SPAN("\1\6\1\2\0\70\0\0id: 7\ndata: red\n\n"
		 "id: 8\ndata: yellow\n\nid: 9\ndata: green\n\n"));
}

static void
a_header_that_was_cut_has_promised_its_record(void **state)
{
	struct fixture *f = *state;

	f->s.place = (struct chunk_place){.cursor = 6};
	write_colours(f, 9, 0, ST_AGAIN); /* nothing was promised */
	ASSERT_PLACE(&f->s, 6, 0, 0, 0);
	assert_true(stream_at_border(&f->s));
	write_colours(f, 9, 5, ST_AGAIN);
	ASSERT_PLACE(&f->s, 6, 0, 0, 56);
	assert_int_equal(f->s.head_left, 3);
	assert_false(stream_at_border(&f->s));
	write_colours(f, 10, -1, ST_OK);
	ASSERT_PLACE(&f->s, 9, 0, 0, 0);
	assert_int_equal(received(f).len, 64);
}

static void
an_event_larger_than_a_chunk_is_half_out_between_two_records(void **state)
{
	static char text[CHUNK_CONTENT_BYTES + 10];
	struct fixture *f = *state;

	f->s.place = (struct chunk_place){.cursor = 6};
	chunk_begin(&chunk, &f->s.place, CHUNK_CONTENT_BYTES, false);
	assert_false(chunk_add(&chunk, 7, span_of(text, sizeof(text)), 0));
	assert_status(stream_send_chunk(&f->s, &chunk, &f->n), ST_OK);
	ASSERT_PLACE(&f->s, 6, 7, 32768, 0);
	assert_false(stream_at_border(&f->s));
}

static void
an_empty_run_moves_the_place_and_sends_nothing(void **state)
{
	struct fixture *f = *state;

	chunk_begin(&chunk, &f->s.place, CHUNK_CONTENT_BYTES, false);
	chunk_scanned(&chunk, 9);
	assert_status(stream_send_chunk(&f->s, &chunk, &f->n), ST_OK);
	assert_int_equal(f->s.place.cursor, 9);
	assert_int_equal(f->n.n_writes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- what is counted of events ------------------------------------------- */

#define LONG_AGO_US (-3600000000) /* before the machine was started */

static struct chunk events;

/* Events 1 to 5 of 3 bytes, committed in two goes, from a place on. */
static void
put_events(const struct chunk_place *p)
{
	int64_t id;

	chunk_begin(&events, p, CHUNK_CONTENT_BYTES, false);
	for (id = p->cursor + 1; id <= 5; id++)
		assert_true(chunk_add(&events, id, SPAN("abc"),
		    id <= 3 ? LONG_AGO_US : INT64_MAX));
}

/* Sends all, the first write cut after `n` bytes. */
static void
send_cut(struct fixture *f, int64_t n)
{
	enum status st;

	budget = n;
	put_events(&f->s.place);
	st = stream_send_chunk(&f->s, &events, &f->n);
	budget = -1;
	while (st == ST_AGAIN) {
		put_events(&f->s.place);
		st = stream_send_chunk(&f->s, &events, &f->n);
	}
	assert_status(st, ST_OK);
}

static void
each_event_newer_than_the_stream_is_timed_once(void **state)
{
	struct fixture *f = *state;
	int64_t cut, born;

	f->s.request_id = 0;
	f->n.timed = true;
	for (born = 0; born <= 5; born++) {
		for (cut = 0; cut <= 15; cut++) {
			memset(&f->n.delivery, 0, sizeof(f->n.delivery));
			stream_move(&f->s, 0);
			f->s.born_id = born;
			send_cut(f, cut);
			assert_int_equal(hist_count(&f->n.delivery), 5 - born);
			assert_int_equal(f->n.delivery.n[HIST_BOUNDS],
			    born < 3 ? 3 - born : 0);
			/* A time still to come is none. */
			assert_int_equal(f->n.delivery.n[0],
			    born < 3 ? 2 : 5 - born);
			(void)received(f);
			f->len = 0;
		}
	}
	assert_int_equal(f->n.n_events, 5 * 6 * 16);
	assert_int_equal(f->n.n_duplicates, 0);
}

static void
nothing_is_timed_unless_asked_for(void **state)
{
	struct fixture *f = *state;

	send_cut(f, -1);
	assert_int_equal(f->n.n_events, 5);
	assert_int_equal(hist_count(&f->n.delivery), 0);
}

static void
a_frame_that_goes_out_again_is_a_duplicate(void **state)
{
	struct fixture *f = *state;

	send_cut(f, -1);
	assert_int_equal(f->s.sent_id, 5);
	f->s.place.cursor = 3;
	send_cut(f, -1);
	assert_int_equal(f->n.n_duplicates, 2);
	f->s.place.cursor = 2;
	f->s.sent_id = 4;
	send_cut(f, 5);
	assert_int_equal(f->n.n_duplicates, 2 + 2);
	assert_int_equal(f->n.n_events, 5 + 2 + 3);
}

static void
after_a_gap_an_event_is_none_though_it_was_sent(void **state)
{
	struct fixture *f = *state;

	send_cut(f, -1);
	stream_move(&f->s, 0);
	send_cut(f, -1);
	assert_int_equal(f->n.n_duplicates, 0);
	assert_int_equal(f->n.n_events, 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(text_is_one_record),
	    TEST(plain_cgi_has_no_records),
	    TEST(text_that_was_cut_waits_and_what_follows_waits_behind_it),
	    TEST(what_cannot_wait_is_an_error),
	    TEST(a_peer_that_is_gone_is_told_apart),
	    TEST(a_run_is_continued_inside_the_record_that_was_promised),
	    TEST(the_example_of_a_write_that_was_cut_is_true),
	    TEST(a_header_that_was_cut_has_promised_its_record),
	    TEST(an_event_larger_than_a_chunk_is_half_out_between_two_records),
	    TEST(an_empty_run_moves_the_place_and_sends_nothing),
	    TEST(each_event_newer_than_the_stream_is_timed_once),
	    TEST(nothing_is_timed_unless_asked_for),
	    TEST(a_frame_that_goes_out_again_is_a_duplicate),
	    TEST(after_a_gap_an_event_is_none_though_it_was_sent),
	};

	return RUN(tests);
}
