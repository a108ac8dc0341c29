/* SPDX-License-Identifier: MIT */
/* Lines about requests and streams, read back from a pipe that stands in for
 * fd 2. */
#include "request_log.h"

#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "log.h"
#include "stream_log.h"
#include "unit.h"

#define ID    0x0123456789abcdefu
#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static uint64_t now_us = 1000000000;

static int
setup(void **state)
{
	(void)state;
	now_us += 10000000; /* every gate is open */
	log_init("test", LOG_TEXT, LOG_DEBUG_);
	log_limit(100);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	capture_stop();
	return 0;
}

/* The one line that was written, without what every line begins with. */
static void
assert_line(const char *want)
{
	struct span got = capture_end();
	const char *at = span_find(got, ' ');

	assert_non_null(at);
	got = span_skip(got, (size_t)(at + 1 - got.p));
	assert_true(got.len > 0 && got.p[got.len - 1] == '\n');
	got.len--;
	assert_span(got, span_str(want));
}

static struct request
asked(void)
{
	struct request r = {.remote = SPAN("192.0.2.7")};

	r.channel[0] = SPAN("a");
	r.channel[1] = SPAN("b.*");
	r.n_channels = 2;
	return r;
}

static void
an_opening_says_who_what_and_from_where(void **state)
{
	struct request r = asked();
	struct request_log_opening o = {.stream = ID,
	    .req = &r,
	    .front = FRONT_LIGHTTPD,
	    .from = 40,
	    .trace = SPAN(TRACE)};

	(void)state;
	capture_begin();
	request_log_open(&o, now_us);
	assert_line("stream.open stream=0123456789abcdef remote=192.0.2.7 "
		    "channel=a,b.* from=40 front=lighttpd trace=" TRACE);
	o.trace = SPAN("00-secret");
	o.front = FRONT_CGI;
	capture_begin();
	request_log_open(&o, now_us);
	assert_line("stream.open stream=0123456789abcdef remote=192.0.2.7 "
		    "channel=a,b.* from=40 front=cgi");
}

static void
who_comes_back_is_told_with_its_result(void **state)
{
	struct request r = asked();
	struct request_log_opening o = {.stream = ID,
	    .req = &r,
	    .front = FRONT_APACHE,
	    .from = 40};

	(void)state;
	r.resumes = true;
	r.requested = SPAN("38");
	capture_begin();
	request_log_open(&o, now_us);
	assert_line("stream.resume stream=0123456789abcdef remote=192.0.2.7 "
		    "channel=a,b.* from=40 resumed_from=38 result=ok "
		    "front=apache");
	o.with_gap = true;
	r.requested = SPAN("my secret");
	capture_begin();
	request_log_open(&o, now_us);
	assert_line("stream.resume stream=0123456789abcdef remote=192.0.2.7 "
		    "channel=a,b.* from=40 result=gap front=apache");
}

static void
a_gap_shows_an_id_when_it_is_a_number(void **state)
{
	struct frame_gap g = {.code = GAP_EXPIRED,
	    .requested = SPAN("38"),
	    .lost = 12};

	(void)state;
	capture_begin();
	stream_log_gap(ID, &g, now_us);
	assert_line("stream.gap stream=0123456789abcdef code=expired "
		    "requested=38 lost=12");
	g.requested = SPAN("x\"y");
	g.code = GAP_INVALID;
	g.lost = 0;
	capture_begin();
	stream_log_gap(ID, &g, now_us);
	assert_line("stream.gap stream=0123456789abcdef code=invalid lost=0");
}

static void
an_end_says_why_and_after_what_time(void **state)
{
	struct stream s = {.id = ID,
	    .opened_ms = (uint32_t)(now_us / 1000) - 1500};

	(void)state;
	capture_begin();
	stream_log_close(&s, STREAM_MAX_AGE, 47, now_us);
	assert_line("stream.close stream=0123456789abcdef reason=max_age "
		    "duration_ms=1500 position=47");
	s.opened_ms = UINT32_MAX - 9; /* the clock's 32 bits wrapped */
	capture_begin();
	stream_log_close(&s, STREAM_LEFT, 47, ((uint64_t)1 << 32) * 1000);
	assert_line("stream.close stream=0123456789abcdef reason=left "
		    "duration_ms=10 position=47");
	assert_string_equal(stream_log_end_name(STREAM_BROKEN), "broken");
}

static void
the_other_lines_are_as_they_are_documented(void **state)
{
	struct request r = asked();
	struct traced t = {.id = 7,
	    .channel = SPAN("a"),
	    .type = SPAN("message"),
	    .trace = SPAN(TRACE),
	    .n_streams = 3,
	    .n_bytes = 12};

	(void)state;
	capture_begin();
	stream_log_lagging(ID, 300, 5500000, now_us);
	assert_line("stream.lagging stream=0123456789abcdef lag=300 "
		    "behind_ms=5500");
	capture_begin();
	request_log_reject(ID, &r, FRONT_APACHE, "slots", now_us);
	assert_line("stream.reject reason=slots stream=0123456789abcdef "
		    "remote=192.0.2.7 channel=a,b.* front=apache");
	r.error.status = 406;
	capture_begin();
	request_log_refuse(&r, FRONT_OTHER, now_us);
	assert_line("stream.refuse status=406 remote=192.0.2.7 front=other");
	capture_begin();
	stream_log_dispatch(&t, now_us);
	assert_line("event.dispatch id=7 channel=a type=message trace=" TRACE
		    " streams=3 bytes=12");
}

static void
a_number_is_a_number_in_json(void **state)
{
	struct frame_gap g = {.code = GAP_AHEAD,
	    .requested = SPAN("38"),
	    .lost = 12};
	struct span got;

	(void)state;
	log_init("test", LOG_JSON, LOG_INFO_);
	capture_begin();
	stream_log_gap(ID, &g, now_us);
	got = capture_end();
	assert_non_null(
	    memmem(got.p, got.len, "\"requested\":38,\"lost\":12}", 25));
}

static void
many_channels_are_cut_between_two(void **state)
{
	static char name[NAME_MAX_BYTES];
	struct request r = asked();
	struct span got;
	size_t i;

	(void)state;
	memset(name, 'n', sizeof(name));
	for (i = 0; i < REQUEST_MAX_CHANNELS; i++)
		r.channel[i] = span_of(name, 100);
	r.n_channels = REQUEST_MAX_CHANNELS;
	capture_begin();
	request_log_reject(ID, &r, FRONT_OTHER, "drain", now_us);
	got = capture_end();
	assert_null(memmem(got.p, got.len, ", ", 2));
	assert_non_null(memmem(got.p, got.len, "n front=other\n", 14));
}

static void
a_kind_that_a_peer_drives_does_not_shut_out_others(void **state)
{
	struct request r = asked();
	uint64_t before = log_n_dropped();
	struct frame_gap g = {.code = GAP_AHEAD, .requested = SPAN("1")};
	struct span got;
	int i;

	(void)state;
	log_limit(3);
	r.error.status = 400;
	capture_begin();
	for (i = 0; i < 20; i++)
		request_log_refuse(&r, FRONT_OTHER, now_us);
	stream_log_gap(ID, &g, now_us);
	got = capture_end();
	assert_int_equal(log_n_dropped() - before, 17);
	assert_non_null(memmem(got.p, got.len, "stream.gap", 10));
}

static void
nothing_is_written_or_counted_below_the_level(void **state)
{
	struct request r = asked();
	uint64_t before = log_n_dropped();
	struct traced t = {.id = 7};
	int i;

	(void)state;
	log_limit(1);
	log_init("test", LOG_TEXT, LOG_WARN_);
	capture_begin();
	for (i = 0; i < 5; i++)
		request_log_refuse(&r, FRONT_OTHER, now_us);
	log_init("test", LOG_TEXT, LOG_INFO_);
	stream_log_dispatch(&t, now_us);
	assert_int_equal(capture_end().len, 0);
	assert_int_equal(log_n_dropped(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_opening_says_who_what_and_from_where),
	    TEST(who_comes_back_is_told_with_its_result),
	    TEST(a_gap_shows_an_id_when_it_is_a_number),
	    TEST(an_end_says_why_and_after_what_time),
	    TEST(the_other_lines_are_as_they_are_documented),
	    TEST(a_number_is_a_number_in_json),
	    TEST(many_channels_are_cut_between_two),
	    TEST(a_kind_that_a_peer_drives_does_not_shut_out_others),
	    TEST(nothing_is_written_or_counted_below_the_level),
	};

	return RUN(tests);
}
