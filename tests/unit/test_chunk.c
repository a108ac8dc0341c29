/* SPDX-License-Identifier: MIT */
/* Frames that go out together, cut and continued at every byte. */
#include "chunk.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

static struct chunk chunk; /* too large for a stack */

static void
begin(const struct chunk_place *p, size_t limit, bool exact)
{
	chunk_begin(&chunk, p, limit, exact);
}

static bool
add(int64_t id, const char *text)
{
	return chunk_add(&chunk, id, span_str(text), 0);
}

static struct span
content(void)
{
	return span_of(chunk.content, chunk.len);
}

static void
whole_frames_are_taken_while_they_fit(void **state)
{
	struct chunk_place p = {.cursor = 4};

	(void)state;
	begin(&p, 10, false);
	assert_true(add(5, "12345"));
	assert_true(add(7, "1234"));
	assert_false(add(8, "12"));
	assert_span(content(), SPAN("123451234"));
	assert_int_equal(chunk.scanned_id, 7);
	assert_int_equal(chunk.part_id, 0);
	assert_int_equal(chunk_advance(&chunk, 9, &p), 2);
	assert_int_equal(p.cursor, 7);
	assert_int_equal(p.off, 0);
}

static void
a_frame_that_fits_exactly_is_whole(void **state)
{
	struct chunk_place p = {.cursor = 4};

	(void)state;
	begin(&p, 5, false);
	assert_true(add(5, "12345"));
	assert_false(add(6, "1"));
	assert_int_equal(chunk.n_marks, 1);
	assert_int_equal(chunk.part_id, 0);
}

static void
a_first_frame_that_is_too_long_is_cut(void **state)
{
	struct chunk_place p = {.cursor = 4};

	(void)state;
	begin(&p, 5, false);
	assert_false(add(6, "123456789ab"));
	assert_span(content(), SPAN("12345"));
	assert_int_equal(chunk_advance(&chunk, 5, &p), 0);
	assert_int_equal(p.cursor, 4);
	assert_int_equal(p.part_id, 6);
	assert_int_equal(p.off, 5);
	begin(&p, 5, false);
	assert_false(add(6, "123456789ab"));
	assert_span(content(), SPAN("6789a"));
	assert_int_equal(chunk_advance(&chunk, 5, &p), 0);
	begin(&p, 5, false);
	assert_true(add(6, "123456789ab"));
	assert_true(add(7, "xy"));
	assert_span(content(), SPAN("bxy"));
	assert_int_equal(chunk_advance(&chunk, 2, &p), 1);
	assert_int_equal(p.cursor, 6);
	assert_int_equal(p.part_id, 7);
	assert_int_equal(p.off, 1);
}

static void
an_exact_run_is_filled_through_a_frame(void **state)
{
	struct chunk_place p = {.cursor = 4};

	(void)state;
	begin(&p, 7, true);
	assert_true(add(5, "12345"));
	assert_false(add(6, "12345"));
	assert_span(content(), SPAN("1234512"));
	assert_int_equal(chunk_advance(&chunk, 7, &p), 1);
	assert_int_equal(p.cursor, 5);
	assert_int_equal(p.part_id, 6);
	assert_int_equal(p.off, 2);
}

static void
every_short_write_is_continued_at_its_byte(void **state)
{
	static const char *const frame[] = {"abc", "d", "efghij", "kl"};
	char got[64];
	size_t sent, len, i;

	(void)state;
	for (sent = 0; sent <= 12; sent++) {
		struct chunk_place p = {.cursor = 0};
		size_t n_whole = 0;

		for (len = 0; p.cursor < 40;
		     len += chunk.len < sent + 1 ? chunk.len : sent + 1) {
			size_t n;

			begin(&p, 64, false);
			for (i = 0; i < 4; i++)
				if ((int64_t)(i + 1) * 10 > p.cursor)
					assert_true(add((int64_t)(i + 1) * 10,
					    frame[i]));
			n = chunk.len < sent + 1 ? chunk.len : sent + 1;
			memcpy(got + len, chunk.content, n);
			n_whole += chunk_advance(&chunk, n, &p);
		}
		assert_span(span_of(got, len), SPAN("abcdefghijkl"));
		assert_int_equal(n_whole, 4);
		assert_int_equal(p.off, 0);
		assert_int_equal(p.part_id, 0);
	}
}

static void
nothing_sent_moves_nothing(void **state)
{
	struct chunk_place p = {.cursor = 4, .part_id = 5, .off = 2};

	(void)state;
	begin(&p, 64, false);
	assert_true(add(5, "abc"));
	chunk_scanned(&chunk, 9);
	assert_int_equal(chunk_advance(&chunk, 0, &p), 0);
	assert_int_equal(p.cursor, 4);
	assert_int_equal(p.part_id, 5);
	assert_int_equal(p.off, 2);
}

static void
unwanted_events_move_the_cursor_when_all_is_out(void **state)
{
	struct chunk_place p = {.cursor = 4};

	(void)state;
	begin(&p, 64, false);
	assert_true(add(5, "abc"));
	chunk_scanned(&chunk, 9);
	assert_int_equal(chunk_advance(&chunk, 2, &p), 0);
	assert_int_equal(p.cursor, 4);
	p = (struct chunk_place){.cursor = 4};
	assert_int_equal(chunk_advance(&chunk, 3, &p), 1);
	assert_int_equal(p.cursor, 9);
	begin(&p, 64, false);
	chunk_scanned(&chunk, 20);
	assert_int_equal(chunk_advance(&chunk, 0, &p), 0);
	assert_int_equal(p.cursor, 20);
}

static void
an_event_under_way_is_looked_for_further_on(void **state)
{
	struct chunk_place p = {.cursor = 4, .part_id = 50, .off = 2};

	(void)state;
	begin(&p, 64, true);
	chunk_scanned(&chunk, 49);
	assert_false(chunk.broken);
	assert_int_equal(chunk_advance(&chunk, 0, &p), 0);
	assert_int_equal(p.cursor, 49);
	assert_int_equal(p.part_id, 50);
	assert_int_equal(p.off, 2);
	begin(&p, 64, true);
	assert_true(add(50, "abc"));
	assert_span(content(), SPAN("c"));
}

static void
an_event_under_way_that_is_gone_breaks_the_run(void **state)
{
	struct chunk_place p = {.cursor = 4, .part_id = 50, .off = 2};

	(void)state;
	begin(&p, 64, true);
	chunk_scanned(&chunk, 50);
	assert_true(chunk.broken);
	begin(&p, 64, true);
	assert_false(add(51, "abc"));
	assert_true(chunk.broken);
	begin(&p, 64, true);
	assert_false(add(50, "ab")); /* shorter than it was */
	assert_true(chunk.broken);
}

static void
the_number_of_events_in_a_run_is_bounded(void **state)
{
	struct chunk_place p = {.cursor = 0};
	int64_t id;

	(void)state;
	begin(&p, SIZE_MAX, false);
	for (id = 1; add(id, "x"); id++)
		;
	assert_int_equal(id, CHUNK_MARKS + 1);
	assert_int_equal(chunk.len, CHUNK_MARKS);
	assert_int_equal(chunk.limit, CHUNK_CONTENT_BYTES);
	assert_int_equal(chunk_advance(&chunk, chunk.len, &p), CHUNK_MARKS);
	assert_int_equal(p.cursor, CHUNK_MARKS);
}

/* ---- times --------------------------------------------------------------- */

static void
marks_that_were_committed_together_have_one_time(void **state)
{
	struct chunk_place p = {.cursor = 0};
	int64_t id;

	(void)state;
	begin(&p, CHUNK_CONTENT_BYTES, false);
	for (id = 1; id <= 6; id++)
		assert_true(
		    chunk_add(&chunk, id, SPAN("x"), id <= 4 ? 70 : -8));
	assert_int_equal(chunk.n_times, 2);
	assert_int_equal(chunk.time[0].commit_us, 70);
	assert_int_equal(chunk.time[0].end, 4);
	assert_int_equal(chunk.time[1].commit_us, -8);
	assert_int_equal(chunk.time[1].end, 6);
	begin(&p, CHUNK_CONTENT_BYTES, false);
	assert_int_equal(chunk.n_times, 0);
}

static void
the_last_time_takes_what_has_no_room(void **state)
{
	struct chunk_place p = {.cursor = 0};
	int64_t id;

	(void)state;
	begin(&p, CHUNK_CONTENT_BYTES, false);
	for (id = 1; id <= CHUNK_TIMES + 5; id++)
		assert_true(chunk_add(&chunk, id, SPAN("x"), id));
	assert_int_equal(chunk.n_times, CHUNK_TIMES);
	assert_int_equal(chunk.time[CHUNK_TIMES - 1].commit_us, CHUNK_TIMES);
	assert_int_equal(chunk.time[CHUNK_TIMES - 1].end, CHUNK_TIMES + 5);
}

static void
marks_are_counted_up_to_an_id(void **state)
{
	struct chunk_place p = {.cursor = 0};

	(void)state;
	begin(&p, CHUNK_CONTENT_BYTES, false);
	assert_int_equal(chunk_marks_upto(&chunk, 5), 0);
	assert_true(add(3, "x"));
	assert_true(add(4, "x"));
	assert_true(add(9, "x"));
	assert_int_equal(chunk_marks_upto(&chunk, 2), 0);
	assert_int_equal(chunk_marks_upto(&chunk, 3), 1);
	assert_int_equal(chunk_marks_upto(&chunk, 8), 2);
	assert_int_equal(chunk_marks_upto(&chunk, 9), 3);
	assert_int_equal(chunk_marks_upto(&chunk, INT64_MAX), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_frames_are_taken_while_they_fit),
	    cmocka_unit_test(a_frame_that_fits_exactly_is_whole),
	    cmocka_unit_test(a_first_frame_that_is_too_long_is_cut),
	    cmocka_unit_test(an_exact_run_is_filled_through_a_frame),
	    cmocka_unit_test(every_short_write_is_continued_at_its_byte),
	    cmocka_unit_test(nothing_sent_moves_nothing),
	    cmocka_unit_test(unwanted_events_move_the_cursor_when_all_is_out),
	    cmocka_unit_test(an_event_under_way_is_looked_for_further_on),
	    cmocka_unit_test(an_event_under_way_that_is_gone_breaks_the_run),
	    cmocka_unit_test(the_number_of_events_in_a_run_is_bounded),
	    cmocka_unit_test(marks_that_were_committed_together_have_one_time),
	    cmocka_unit_test(the_last_time_takes_what_has_no_room),
	    cmocka_unit_test(marks_are_counted_up_to_an_id),
	};

	return RUN(tests);
}
