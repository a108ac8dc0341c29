/* SPDX-License-Identifier: MIT */
/*
 * Connections know no framing: what is said of them here holds with a codec
 * whose units end with a semicolon, and where a newline is a byte like others.
 */
#include "conn.h"

#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#define MAX_UNIT 8

/* ---- a codec of another kind -------------------------------------------- */

static void
framed_next(struct codec_place *at, struct span in, enum codec_input input,
    size_t max_bytes, struct codec_piece *out)
{
	const char *end = span_find(in, ';');

	*out = (struct codec_piece){.kind = CODEC_UNIT,
	    .text = in,
	    .n_bytes = in.len};
	if (end != NULL) {
		out->ended = true;
		out->text.len = (size_t)(end - in.p);
		out->n_bytes = out->text.len + 1;
	} else if (in.len > 0 && input != CODEC_OPEN) {
		out->ended = true;
		out->text.len = 0; /* one that has no end is an empty one */
	}
	if (at->skipping)
		out->kind = CODEC_SKIPPED;
	else if (out->text.len > max_bytes)
		out->kind = CODEC_LONG;
}

static void
framed_dropped(struct codec_place *at, const struct codec_piece *piece)
{
	at->skipping = !piece->ended;
}

static const struct codec framed = {
    .name = "framed",
    .next = framed_next,
    .dropped = framed_dropped,
};

/* ---- connections -------------------------------------------------------- */

struct fixture {
	struct loop *loop;
	struct conns set;
	int peer;
	bool is_full;   /* a unit finds no room */
	int n_asked;    /* for a unit to be taken */
	struct buf got; /* units in brackets; ! for one that is refused */
};

static enum status
take_unit(void *arg, struct conn *c, struct span unit)
{
	struct fixture *f = arg;
	size_t before = conn_out(c)->len;

	f->n_asked++;
	if (f->is_full)
		return ST_FULL;
	assert_status(buf_append(&f->got, SPAN("[")), ST_OK);
	assert_status(buf_append(&f->got, unit), ST_OK);
	assert_status(buf_append(&f->got, SPAN("]")), ST_OK);
	assert_status(buf_append(conn_out(c), SPAN("+")), ST_OK);
	conn_wrote(c, before);
	return ST_OK;
}

static enum status
refuse_unit(void *arg, struct conn *c, enum status why)
{
	struct fixture *f = arg;

	(void)c;
	assert_int_equal(why, ST_TOOLARGE);
	return buf_append(&f->got, SPAN("!"));
}

static int
setup(void **state)
{
	static struct fixture f;
	int pair[2];

	f = (struct fixture){.peer = -1};
	buf_init(&f.got, 4096);
	if (loop_new(&f.loop) != ST_OK ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	conns_init(&f.set, f.loop);
	f.set.line = take_unit;
	f.set.refuse = refuse_unit;
	f.set.arg = &f;
	f.set.max_line_bytes = MAX_UNIT;
	f.peer = pair[1];
	*state = &f;
	return conns_take_fd(&f.set, pair[0], &framed) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->peer >= 0)
		(void)close(f->peer);
	conns_fini(&f->set);
	loop_free(&f->loop);
	buf_fini(&f->got);
	return 0;
}

/* As server_turn does, without a log. */
static void
turn(struct fixture *f)
{
	assert_status(loop_turn(f->loop, 0), ST_OK);
	conns_take_lines(&f->set);
	conns_flush(&f->set);
	conns_relieve(&f->set, loop_now_us(f->loop));
	f->set.round++;
	(void)conns_resume(&f->set);
	conns_reap(&f->set);
}

static void
say(struct fixture *f, struct span bytes)
{
	assert_int_equal(write(f->peer, bytes.p, bytes.len), bytes.len);
	turn(f);
}

static void
assert_got(struct fixture *f, const char *units)
{
	assert_span(buf_span(&f->got), span_str(units));
	buf_clear(&f->got);
}

static void
units_are_what_the_codec_says(void **state)
{
	struct fixture *f = *state;

	say(f, SPAN("ab;c\nd;;"));
	assert_got(f, "[ab][c\nd][]");
	say(f, SPAN("e;"));
	assert_got(f, "[e]");
}

static void
an_unfinished_unit_is_counted_and_then_not(void **state)
{
	struct fixture *f = *state;

	say(f, SPAN("abc"));
	assert_int_equal(f->set.peers.partial_bytes, 3);
	say(f, SPAN("de;"));
	assert_int_equal(f->set.peers.partial_bytes, 0);
	assert_int_equal(f->set.in_bytes, 0);
	assert_got(f, "[abcde]");
}

static void
a_unit_that_is_too_long_is_refused_once_and_skipped(void **state)
{
	struct fixture *f = *state;

	say(f, SPAN("abcdefghi"));
	assert_got(f, "!");
	say(f, SPAN("and more than is kept"));
	assert_got(f, "");
	assert_int_equal(f->set.in_bytes, 0);
	say(f, SPAN("its end;m;"));
	turn(f);
	assert_got(f, "[m]");
}

static void
a_unit_without_room_is_offered_once_a_round(void **state)
{
	struct fixture *f = *state;
	int i;

	f->is_full = true;
	assert_int_equal(write(f->peer, "a;b;", 4), 4);
	assert_status(loop_turn(f->loop, 0), ST_OK);
	for (i = 0; i < 3; i++) {
		conns_take_lines(&f->set);
		assert_false(conns_resume(&f->set));
	}
	assert_int_equal(f->n_asked, 1);
	assert_int_equal(f->set.in_bytes, 4);
	f->is_full = false;
	f->set.round++;
	assert_true(conns_resume(&f->set));
	conns_take_lines(&f->set);
	assert_got(f, "[a][b]");
}

static void
the_end_of_input_is_the_codecs_business(void **state)
{
	struct fixture *f = *state;

	say(f, SPAN("a;bc"));
	assert_got(f, "[a]");
	assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
	turn(f);
	turn(f);
	assert_got(f, "[]");
	assert_int_equal(f->set.n, 0);
}

static void
metrics_http_go_out_as_they_are(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	say(f, SPAN("a;b;"));
	assert_int_equal(read(f->peer, bytes, sizeof(bytes)), 2);
	assert_memory_equal(bytes, "++", 2);
	assert_int_equal(f->set.out_bytes, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(units_are_what_the_codec_says),
	    TEST(an_unfinished_unit_is_counted_and_then_not),
	    TEST(a_unit_that_is_too_long_is_refused_once_and_skipped),
	    TEST(a_unit_without_room_is_offered_once_a_round),
	    TEST(the_end_of_input_is_the_codecs_business),
	    TEST(metrics_http_go_out_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
