/* SPDX-License-Identifier: MIT */
/* What a client asks of sse.fcgi, from its CGI variables. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "unit.h"

/* One request and what it was made of. */
struct fixture {
	struct params params;
	struct request r;
	struct request_rules rules;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	params_init(&f->params);
	request_init(&f->r);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	request_fini(&f->r);
	params_fini(&f->params);
	free(f);
	return 0;
}

static void
clear(struct fixture *f)
{
	params_fini(&f->params);
	params_init(&f->params);
}

static void
set(struct fixture *f, const char *name, const char *value)
{
	char pair[16384];

	(void)snprintf(pair, sizeof(pair), "%s=%s", name, value);
	assert_status(params_add(&f->params, span_str(pair)), ST_OK);
}

static void
read_it(struct fixture *f)
{
	assert_status(request_read(&f->r, &f->params, &f->rules), ST_OK);
}

/* A GET with this query, so far. */
static void
ask(struct fixture *f, const char *query)
{
	clear(f);
	set(f, "REQUEST_METHOD", "GET");
	set(f, "QUERY_STRING", query);
}

/* All of it. */
static void
get(struct fixture *f, const char *query)
{
	ask(f, query);
	read_it(f);
}

static void
want_kind(const struct fixture *f, enum request_kind kind, const char *what)
{
	if (f->r.kind != kind)
		fail_msg("%s: kind %d (status %d: %.*s), expected %d", what,
		    (int)f->r.kind, f->r.error.status,
		    (int)f->r.error.detail.len,
		    f->r.error.detail.p == NULL ? "" : f->r.error.detail.p,
		    (int)kind);
}

/* Refused with this status, by a sentence that has `part` in it. */
static void
want_refused(const struct fixture *f, int status, const char *part)
{
	struct span d = f->r.error.detail;

	want_kind(f, REQUEST_REFUSED, part);
	assert_int_equal(f->r.error.status, status);
	assert_true(d.len > 10);
	assert_true(d.p[d.len - 1] == '.');
	if (memmem(d.p, d.len, part, strlen(part)) == NULL)
		fail_msg("\"%.*s\" does not say \"%s\"", (int)d.len, d.p, part);
}

/* The channels are exactly these, separated by spaces. */
static void
want_channels(const struct fixture *f, const char *list)
{
	struct span rest = span_str(list), name;
	size_t i = 0;

	want_kind(f, REQUEST_STREAM, list);
	while (span_cut(&rest, ' ', &name)) {
		assert_true(i < f->r.n_channels);
		assert_span(f->r.channel[i++], name);
	}
	assert_int_equal(f->r.n_channels, i);
}

/* ---- methods ------------------------------------------------------------ */

static void
a_get_is_a_live_stream_with_nothing_special(void **state)
{
	struct fixture *f = *state;

	get(f, "channel=a");
	want_channels(f, "a");
	assert_int_equal(f->r.position, POSITION_LIVE);
	assert_int_equal(f->r.n_events, 0);
	assert_int_equal(f->r.max_streams, -1);
	assert_false(f->r.head_only || f->r.envelope || f->r.padding ||
	    f->r.heartbeat_events);
	assert_int_equal(f->r.origin.len, 0);
	assert_int_equal(f->r.requested.len, 0);
	assert_int_equal(f->r.generation.len, 0);
}

static void
a_head_is_the_head_of_a_stream_or_of_an_error(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "HEAD");
	set(f, "QUERY_STRING", "channel=a");
	read_it(f);
	want_kind(f, REQUEST_HEAD, "HEAD");
	assert_true(f->r.head_only);
	clear(f);
	set(f, "REQUEST_METHOD", "HEAD");
	read_it(f);
	want_refused(f, 400, "channel");
	assert_true(f->r.head_only);
}

static void
options_is_a_preflight_whatever_else_it_says(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "OPTIONS");
	set(f, "HTTP_ACCEPT", "text/html");
	set(f, "QUERY_STRING", "channel=%zz");
	read_it(f);
	want_kind(f, REQUEST_PREFLIGHT, "OPTIONS");
}

static void
other_methods_are_refused_with_those_allowed(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH",
	    "get", "", "GETS", "TRACE"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		clear(f);
		set(f, "REQUEST_METHOD", methods[i]);
		set(f, "QUERY_STRING", "channel=a");
		read_it(f);
		want_refused(f, 405, methods[i]);
		assert_span(f->r.error.allow, SPAN("GET, HEAD, OPTIONS"));
	}
	clear(f);
	read_it(f);
	want_refused(f, 405, "GET");
}

/* What is missing could be the method, or the cap. */
static void
a_request_that_did_not_fit_is_refused_whatever_is_there(void **state)
{
	struct fixture *f = *state;

	ask(f, "channel=a");
	f->params.cut = true;
	read_it(f);
	assert_int_equal(f->r.kind, REQUEST_REFUSED);
	assert_int_equal(f->r.error.status, 431);
	assert_true(f->r.error.detail.len > 0);
}

static void
an_accept_that_excludes_streams_is_refused(void **state)
{
	struct fixture *f = *state;

	ask(f, "channel=a");
	set(f, "HTTP_ACCEPT", "*/*, text/event-stream;q=0");
	read_it(f);
	want_refused(f, 406, "text/event-stream");
}

/* ---- channels ----------------------------------------------------------- */

static void
channels_come_from_the_query_in_every_notation(void **state)
{
	static const struct {
		const char *query, *channels;
	} rows[] = {
	    {"channel=a", "a"},
	    {"channel=a&channel=b", "a b"},
	    {"channel=a,b&channel=c", "a b c"},
	    {"channel=a%2Cb", "a b"},
	    {"channel=a,a&channel=a", "a"},
	    {"channel=orders.*&channel=*", "orders.* *"},
	    {"channel=a%3ab%2Fc", "a:b/c"},
	    {"%63hannel=a", "a"},
	    {"channel=a&_=1731&x=%zz&%zz=1&y", "a"},
	    {"channel=&channel=b", "b"},
	    {"Channel=x&channel=a", "a"},
	    {"channel=A-Z_a.z:0/9-", "A-Z_a.z:0/9-"},
	    {"channel=system&channel=control&channel=systems.x",
		"system control systems.x"},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		get(f, rows[i].query);
		want_channels(f, rows[i].channels);
	}
}

static void
channels_come_from_the_path(void **state)
{
	static const struct {
		const char *path_info, *uri, *channels;
	} rows[] = {
	    {"/a", "/x/sse.fcgi/ignored", "a"},
	    {"/a,b", "/sse.fcgi/a,b", "a b"},
	    {"a", "/", "a"},
	    {"/a/b", "", "a/b"},
	    {"", "/sse.fcgi/a?x=1", "a"},
	    {NULL, "/sse.fcgi/a", "a"},
	    {NULL, "/sse.fcgi/a,b.*?channel=ignored", "a b.*"},
	    {NULL, "/app/live/sse.fcgi/a%2cb", "a b"},
	    {NULL, "/sse%2Efcgi/a", "a"},
	    {NULL, "/sse.fcgi/a%3Ab/c", "a:b/c"},
	    {NULL, "/sse.fcgi/a/sse.fcgi/b", "a/sse.fcgi/b"},
	    {NULL, "http://host.example/sse.fcgi/a", "a"},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(f, "");
		set(f, "REQUEST_URI", rows[i].uri);
		if (rows[i].path_info != NULL)
			set(f, "PATH_INFO", rows[i].path_info);
		read_it(f);
		want_channels(f, rows[i].channels);
	}
}

static void
a_path_without_a_name_names_no_channel(void **state)
{
	static const char *const uris[] = {"/sse.fcgi", "/sse.fcgi/",
	    "/sse.fcgi?x", "/other/a", "/sse.fcgiX/a", "", "/sse.fcgi/?a/b"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		ask(f, "");
		set(f, "REQUEST_URI", uris[i]);
		read_it(f);
		want_refused(f, 400, "?channel=NAME");
	}
}

static void
path_and_query_are_put_together(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "GET");
	set(f, "PATH_INFO", "/a,b");
	set(f, "QUERY_STRING", "channel=b&channel=c");
	read_it(f);
	want_channels(f, "a b c");
}

static void
a_query_is_found_in_the_uri_when_there_is_no_query_string(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "GET");
	set(f, "REQUEST_URI", "/sse.fcgi/%61?channel=%62&last=3");
	read_it(f);
	want_channels(f, "a b");
	assert_int_equal(f->r.last_n, 3);
}

static void
bad_channels_are_refused_and_named(void **state)
{
	static const struct {
		const char *query;
		int status;
		const char *part;
	} rows[] = {
	    {"channel=a+b", 400, "\"a b\""},
	    {"channel=ok&channel=b!d", 400, "\"b!d\""},
	    {"channel=*a", 400, "\"*a\""},
	    {"channel=a*b", 400, "\"a*b\""},
	    {"channel=a**", 400, "\"a**\""},
	    {"channel=a,,b", 400, "\"\""},
	    {"channel=a,", 400, "\"\""},
	    {"channel=a%00", 400, "\"a?\""},
	    {"channel=%0d%0aX", 400,
		"\"?"
		"?X\""},
	    {"channel=%C3%A9", 400, "\"\303\251\""},
	    {"channel=%zz", 400, "%zz"},
	    {"channel=abc%4", 400, "\"%4\""},
	    {"channel=system.status", 403, "\"system.status\""},
	    {"channel=a,control.x", 403, "\"control.x\""},
	    {"channel=system.*", 403, "\"system.*\""},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		get(f, rows[i].query);
		want_refused(f, rows[i].status, rows[i].part);
	}
}

static void
a_long_bad_name_is_shown_in_part(void **state)
{
	struct fixture *f = *state;
	char query[8200] = "channel=";

	memset(query + 8, 'x', 8000);
	get(f, query);
	want_refused(f, 400, "xxx...\"");
	assert_true(f->r.error.detail.len < 300);
}

static void
a_broken_path_is_refused(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "GET");
	set(f, "REQUEST_URI", "/sse.fcgi/a%zz");
	read_it(f);
	want_refused(f, 400, "%zz");
}

/* channel=c0&channel=c1 …, n of them. */
static void
many_channels(char *query, size_t cap, int n)
{
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++)
		len += (size_t)snprintf(query + len, cap - len, "channel=c%d&",
		    i);
}

static void
sixty_four_channels_are_the_most(void **state)
{
	struct fixture *f = *state;
	char query[2048];

	many_channels(query, sizeof(query), 64);
	get(f, query);
	want_kind(f, REQUEST_STREAM, "64 channels");
	assert_int_equal(f->r.n_channels, 64);
	strcat(query, "channel=c7,c63");
	get(f, query);
	want_kind(f, REQUEST_STREAM, "64 channels and some again");
	assert_int_equal(f->r.n_channels, 64);
	many_channels(query, sizeof(query), 65);
	get(f, query);
	want_refused(f, 400, "64");
}

static void
the_default_channel_is_for_those_that_name_none(void **state)
{
	struct fixture *f = *state;

	f->rules.default_channel = SPAN("news,alerts.*");
	get(f, "");
	want_channels(f, "news alerts.*");
	get(f, "channel=");
	want_channels(f, "news alerts.*");
	get(f, "channel=a");
	want_channels(f, "a");
}

/* ---- positions ---------------------------------------------------------- */

static void
of_several_ids_the_header_counts_else_the_furthest(void **state)
{
	static const struct {
		const char *header, *query;
		int64_t after_id;
	} rows[] = {
	    {"7", "", 7},
	    {"7", "last_event_id=1&lastEventId=2&evs_last_event_id=3", 7},
	    {"7", "last_event_id=9", 7}, /* the log was made anew */
	    {"", "last_event_id=1&lastEventId=2&evs_last_event_id=3", 3},
	    {NULL, "evs_last_event_id=3&lastEventId=2&last_event_id=1", 3},
	    {NULL, "last_event_id=&lastEventId=2&evs_last_event_id=1", 2},
	    {NULL, "last_event_id=3&lastEventId=9", 9},
	    {NULL, "evs_last_event_id=3", 3},
	    {NULL, "last_event_id=1&last_event_id=9", 9},
	    {NULL, "last_event_id=9&last_event_id=1", 9},
	    {NULL, "last_event_id=10&last_event_id=9", 10},
	    {NULL, "last_event_id=1&last_event_id=", 1},
	    {NULL, "last_event_id=earliest&lastEventId=9", 9},
	    {NULL, "last_event_id=9&lastEventId=0", 9},
	    {NULL, "Last-Event-ID=9", 9},
	    {NULL, "last-event-id=9", 9},
	    {NULL, "LAST_EVENT_ID=9&lasteventid=8&EVS_last_Event_id=7", 9},
	    {NULL, "Last%2dEvent%2DID=9", 9},
	    {NULL, "last_event_id=x&lastEventId=9&Last-Event-ID=%zz", 9},
	    {NULL, "last_event_id=99999999999999999999&lastEventId=9", 9},
	    {"abc", "last_event_id=9", 9},
	    {NULL, "lastEventId=%34%32", 42},
	    {"9223372036854775807", "", INT64_MAX},
	    {"0042", "", 42},
	};
	struct fixture *f = *state;
	char query[128];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		clear(f);
		set(f, "REQUEST_METHOD", "GET");
		(void)snprintf(query, sizeof(query), "channel=a&last=5&%s",
		    rows[i].query);
		set(f, "QUERY_STRING", query);
		if (rows[i].header != NULL)
			set(f, "HTTP_LAST_EVENT_ID", rows[i].header);
		read_it(f);
		want_kind(f, REQUEST_STREAM, query);
		assert_int_equal(f->r.position, POSITION_AFTER);
		assert_true(f->r.after_id == rows[i].after_id);
		assert_int_equal(f->r.last_n, 0);
	}
}

static void
earliest_and_zero_are_everything_retained(void **state)
{
	static const char *const ids[] = {"earliest", "0", "00"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		ask(f, "channel=a");
		set(f, "HTTP_LAST_EVENT_ID", ids[i]);
		read_it(f);
		assert_int_equal(f->r.position, POSITION_EARLIEST);
		assert_span(f->r.requested, span_str(ids[i]));
		assert_int_equal(f->r.after_id, 0);
	}
	/* What a browser was given, and the log was made anew. */
	clear(f);
	set(f, "REQUEST_METHOD", "GET");
	set(f, "HTTP_LAST_EVENT_ID", "0");
	set(f, "QUERY_STRING", "channel=a&last_event_id=5");
	read_it(f);
	assert_int_equal(f->r.position, POSITION_EARLIEST);
}

static void
a_foreign_id_is_a_position_and_never_an_error(void **state)
{
	static const char *const ids[] = {"abc", "-1", "+1", "1.5", "1e3",
	    "0x10", "12 ", " 12", "1,2", "99999999999999999999",
	    "9223372036854775808", "Earliest", "earliest!", "\377\376",
	    "\303\251", "%zz", "5d5a9b9c-0000-4000-8000-000000000000",
	    "0000000000000000000000000000000000000000000000000000000000000000"
	    "1"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		ask(f, "channel=a");
		set(f, "HTTP_LAST_EVENT_ID", ids[i]);
		read_it(f);
		want_kind(f, REQUEST_STREAM, ids[i]);
		assert_int_equal(f->r.position, POSITION_INVALID);
		assert_true(f->r.requested.len <= 64);
		assert_true(span_starts(span_str(ids[i]), f->r.requested));
	}
}

static void
a_foreign_id_in_the_query_is_no_error_either(void **state)
{
	static const struct {
		const char *query, *requested;
	} rows[] = {
	    {"last_event_id=%zz", "%zz"},
	    {"lastEventId=a%", "a%"},
	    {"evs_last_event_id=%ff", "\377"},
	    {"last_event_id=+5", " 5"},
	    {"last_event_id=%2B5", "+5"},
	    {"last_event_id=x&lastEventId=y", "x"},
	};
	struct fixture *f = *state;
	char query[128];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(query, sizeof(query), "channel=a&%s",
		    rows[i].query);
		get(f, query);
		want_kind(f, REQUEST_STREAM, query);
		assert_int_equal(f->r.position, POSITION_INVALID);
		assert_span(f->r.requested, span_str(rows[i].requested));
	}
	get(f, "channel=a&last_event_id=%00");
	assert_int_equal(f->r.position, POSITION_INVALID);
	assert_span(f->r.requested, SPAN("\0"));
}

static void
what_is_echoed_of_an_id_is_short_and_whole_characters(void **state)
{
	struct fixture *f = *state;
	char query[1024] = "channel=a&last_event_id=x", *p;
	int i;

	p = query + strlen(query);
	for (i = 0; i < 100; i++)
		p += sprintf(p, "%%C3%%A9");
	get(f, query);
	assert_int_equal(f->r.position, POSITION_INVALID);
	assert_int_equal(f->r.requested.len, 63);
	get(f,
	    "channel=a&last_event_id="
	    "99999999999999999999999999999999999999999999999999999999999999"
	    "999999999");
	assert_int_equal(f->r.position, POSITION_INVALID);
	assert_int_equal(f->r.requested.len, 64);
}

static void
last_begins_with_the_newest(void **state)
{
	static const struct {
		const char *query;
		enum request_position position;
		int64_t n;
	} rows[] = {
	    {"channel=a&last=1", POSITION_LAST, 1},
	    {"channel=a&last=1000000", POSITION_LAST, 1000000},
	    {"channel=a&last=0", POSITION_LIVE, 0},
	    {"channel=a&last=", POSITION_LIVE, 0},
	    {"channel=a&last=2&last=3", POSITION_LAST, 3},
	    {"channel=a&last=5&last_event_id=", POSITION_LAST, 5},
	    {"channel=a&last=5&last_event_id=earliest", POSITION_EARLIEST, 0},
	    {"channel=a&last=5&last_event_id=x", POSITION_INVALID, 0},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		get(f, rows[i].query);
		want_kind(f, REQUEST_STREAM, rows[i].query);
		assert_int_equal(f->r.position, rows[i].position);
		assert_int_equal(f->r.last_n, rows[i].n);
	}
}

static void
a_last_that_is_no_number_is_refused(void **state)
{
	static const char *const bad[] = {"-1", "x", "1.5", "1000001", "1 ",
	    "99999999999999999999"};
	struct fixture *f = *state;
	char query[128];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(query, sizeof(query),
		    "channel=a&last_event_id=1&last=%s", bad[i]);
		get(f, query);
		want_refused(f, 400, "last=");
	}
	get(f, "channel=a&last=%5");
	want_refused(f, 400, "last=");
}

/* ---- filters and forms -------------------------------------------------- */

static void
events_are_listed_once_each(void **state)
{
	struct fixture *f = *state;

	get(f, "channel=a&events=a,b&events=b,message&events=gr%C3%B6%C3%9Fe");
	want_kind(f, REQUEST_STREAM, "events");
	assert_int_equal(f->r.n_events, 4);
	assert_span(f->r.event[0], SPAN("a"));
	assert_span(f->r.event[1], SPAN("b"));
	assert_span(f->r.event[2], SPAN("message"));
	assert_span(f->r.event[3], SPAN("gr\303\266\303\237e"));
	get(f, "channel=a&events=a%20b%2Cc");
	assert_int_equal(f->r.n_events, 2);
	assert_span(f->r.event[0], SPAN("a b"));
	get(f, "channel=a&events=");
	want_kind(f, REQUEST_STREAM, "events=");
	assert_int_equal(f->r.n_events, 0);
}

static void
bad_event_names_are_refused(void **state)
{
	static const struct {
		const char *query, *part;
	} rows[] = {
	    {"events=a,,b", "\"\""},
	    {"events=a%0Ab", "\"a?b\""},
	    {"events=%ff", "events="},
	    {"events=control.open", "control.open"},
	    {"events=system.heartbeat", "system.heartbeat"},
	    {"events=%g0", "%g0"},
	};
	struct fixture *f = *state;
	char query[8192];
	size_t i, len;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(query, sizeof(query), "channel=a&%s",
		    rows[i].query);
		get(f, query);
		want_refused(f, 400, rows[i].part);
	}
	len = (size_t)sprintf(query, "channel=a&events=e");
	for (i = 0; i < REQUEST_MAX_EVENTS; i++)
		len += (size_t)snprintf(query + len, sizeof(query) - len,
		    ",e%zu", i);
	get(f, query);
	want_refused(f, 400, "64");
}

static void
forms_are_switched_on_by_their_values(void **state)
{
	static const struct {
		const char *query;
		bool heartbeat, envelope, padding;
	} rows[] = {
	    {"channel=a&heartbeat=event", true, false, false},
	    {"channel=a&heartbeat=comment", false, false, false},
	    {"channel=a&envelope=1", false, true, false},
	    {"channel=a&envelope=true", false, true, false},
	    {"channel=a&envelope=0", false, false, false},
	    {"channel=a&envelope=1&envelope=0", false, false, false},
	    {"channel=a&padding=1", false, false, true},
	    {"channel=a&padding", false, false, false},
	    {"channel=a&heartbeat=event&envelope=1&padding=1", true, true,
		true},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		get(f, rows[i].query);
		want_kind(f, REQUEST_STREAM, rows[i].query);
		assert_int_equal(f->r.heartbeat_events, rows[i].heartbeat);
		assert_int_equal(f->r.envelope, rows[i].envelope);
		assert_int_equal(f->r.padding, rows[i].padding);
	}
}

static void
the_generation_is_passed_on(void **state)
{
	struct fixture *f = *state;

	get(f, "channel=a&generation=00ff%61");
	assert_span(f->r.generation, SPAN("00ffa"));
	get(f, "channel=a&generation=%zz");
	want_refused(f, 400, "generation=");
}

/* ---- origins ------------------------------------------------------------ */

static void
an_origin_is_allowed_when_it_is_listed(void **state)
{
	static const struct {
		const char *rules, *origin, *answer;
	} rows[] = {
	    {"https://a.example https://b.example", "https://b.example",
		"https://b.example"},
	    {"https://a.example,https://b.example", "https://b.example",
		"https://b.example"},
	    {"https://a.example,\thttps://b.example", "https://b.example",
		"https://b.example"},
	    {"https://a.example", "HTTPS://A.Example", "HTTPS://A.Example"},
	    {"https://a.example:8443", "https://a.example:8443",
		"https://a.example:8443"},
	    {"*", "https://x.example", "*"},
	    {"https://a.example *", "https://x.example", "*"},
	    {"*", "", ""},
	    {"*", NULL, ""},
	    {"", "https://a.example", ""},
	    {"", "", ""},
	    {"https://a.example", "https://a.example.evil", ""},
	    {"https://a.example", "https://a.exampl", ""},
	    {"https://a.example", "http://a.example", ""},
	    {"https://a.example", "https://a.example:8443", ""},
	    {"https://a.example", "null", ""},
	    {"https://a.example", "*", ""},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		f->rules.allow_origin = span_str(rows[i].rules);
		ask(f, "channel=a");
		if (rows[i].origin != NULL)
			set(f, "HTTP_ORIGIN", rows[i].origin);
		read_it(f);
		want_kind(f, REQUEST_STREAM, "origin");
		assert_span(f->r.origin, span_str(rows[i].answer));
	}
}

static void
an_origin_is_known_for_errors_and_preflights_too(void **state)
{
	static const char *const methods[] = {"OPTIONS", "POST", "GET"};
	struct fixture *f = *state;
	size_t i;

	f->rules.allow_origin = SPAN("*");
	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		clear(f);
		set(f, "REQUEST_METHOD", methods[i]);
		set(f, "HTTP_ORIGIN", "https://a.example");
		read_it(f);
		assert_span(f->r.origin, SPAN("*"));
	}
}

/* ---- what the web server says ------------------------------------------- */

/* Who writes a limit wants one. */
static void
the_servers_cap_is_a_decimal_or_a_safe_one(void **state)
{
	static const struct {
		const char *value;
		int64_t cap, ramp;
		const char *bad;
	} rows[] = {{"100", 100, 100, NULL}, {"0", 0, 0, NULL},
	    {"2 ", 2, 2, NULL}, {" \t2", 2, 2, NULL},
	    {"", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"-1", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"+2", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"2x", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"2.0", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"2 streams", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"abc", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"1e3", REQUEST_SAFE_CAP, -1, "WALCAST_MAX_STREAMS"},
	    {"99999999999999999999", REQUEST_SAFE_CAP, -1,
		"WALCAST_MAX_STREAMS"}};
	struct fixture *f = *state;
	size_t i;

	assert_string_equal(REQUEST_SAFE_CAP_TEXT, "20");
	assert_int_equal(REQUEST_SAFE_CAP, 20);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(f, "channel=a");
		set(f, "WALCAST_MAX_STREAMS", rows[i].value);
		set(f, "WALCAST_RAMP", rows[i].value);
		read_it(f);
		want_kind(f, REQUEST_STREAM, rows[i].value);
		assert_int_equal(f->r.max_streams, rows[i].cap);
		assert_int_equal(f->r.ramp, rows[i].ramp);
		if (rows[i].bad == NULL) {
			assert_null(f->r.bad_limit);
			continue;
		}
		assert_string_equal(f->r.bad_limit, rows[i].bad);
		assert_span(f->r.bad_value, span_str(rows[i].value));
	}
}

static void
the_share_of_an_address_is_a_decimal_or_a_safe_one(void **state)
{
	static const struct {
		const char *value;
		int64_t share;
	} rows[] = {{"25", 25}, {" 25 ", 25}, {"0", 0}, {"100", 100},
	    {"", REQUEST_SAFE_SHARE}, {"10%", REQUEST_SAFE_SHARE},
	    {"-1", REQUEST_SAFE_SHARE}, {"+5", REQUEST_SAFE_SHARE},
	    {"1e1", REQUEST_SAFE_SHARE}, {"2.0", REQUEST_SAFE_SHARE},
	    {"abc", REQUEST_SAFE_SHARE}};
	struct fixture *f = *state;
	size_t i;

	assert_string_equal(REQUEST_SAFE_SHARE_TEXT, "10");
	assert_int_equal(REQUEST_SAFE_SHARE, 10);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(f, "channel=a");
		set(f, "WALCAST_ADDRESS_SHARE", rows[i].value);
		read_it(f);
		want_kind(f, REQUEST_STREAM, rows[i].value);
		assert_int_equal(f->r.share, rows[i].share);
		if (i < 4) {
			assert_null(f->r.bad_limit);
			continue;
		}
		assert_string_equal(f->r.bad_limit, "WALCAST_ADDRESS_SHARE");
		assert_span(f->r.bad_value, span_str(rows[i].value));
		assert_non_null(
		    strstr(f->r.bad_means, REQUEST_SAFE_SHARE_TEXT));
	}
}

static void
a_limit_that_is_not_given_is_none(void **state)
{
	struct fixture *f = *state;

	get(f, "channel=a");
	assert_int_equal(f->r.max_streams, -1);
	assert_int_equal(f->r.ramp, -1);
	assert_int_equal(f->r.share, -1);
	assert_null(f->r.bad_limit);
	set(f, "HTTP_WALCAST_MAX_STREAMS", "1000000"); /* a client's header */
	read_it(f);
	assert_int_equal(f->r.max_streams, -1);
}

static void
slots_are_counted_for_each_server_and_location(void **state)
{
	struct fixture *f = *state;
	char big[1024];

	get(f, "channel=a");
	assert_span(f->r.slot_pool, SPAN("|"));
	set(f, "SERVER_SOFTWARE", "Apache/2.4");
	read_it(f);
	assert_span(f->r.slot_pool, SPAN("Apache/2.4|"));
	set(f, "WALCAST_LOCATION", "shop");
	read_it(f);
	assert_span(f->r.slot_pool, SPAN("Apache/2.4|shop"));
	clear(f);
	memset(big, 's', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	set(f, "SERVER_SOFTWARE", big);
	set(f, "WALCAST_LOCATION", big);
	read_it(f);
	assert_int_equal(f->r.slot_pool.len, 255);
}

static void
the_address_is_what_the_server_says(void **state)
{
	struct fixture *f = *state;

	set(f, "REQUEST_METHOD", "GET");
	set(f, "REMOTE_ADDR", "2001:db8::1");
	read_it(f);
	assert_span(f->r.remote, SPAN("2001:db8::1"));
}

static void
a_request_can_be_read_again_into_the_same_object(void **state)
{
	struct fixture *f = *state;

	get(f, "channel=%61&events=%62&envelope=1&last=3&generation=%67");
	want_channels(f, "a");
	get(f, "channel=b!");
	want_refused(f, 400, "b!");
	get(f, "channel=%63");
	want_channels(f, "c");
	assert_int_equal(f->r.n_events, 0);
	assert_int_equal(f->r.position, POSITION_LIVE);
	assert_false(f->r.envelope);
	assert_int_equal(f->r.generation.len, 0);
}

static void
everything_encoded_still_fits(void **state)
{
	struct fixture *f = *state;
	char uri[16000], *p = uri;
	int i;

	p += sprintf(p, "/sse.fcgi/%%61?");
	for (i = 0; i < 60; i++)
		p += sprintf(p, "ch%%61nnel=%%63%%%02x%%%02x&", 'a' + i / 26,
		    'a' + i % 26);
	(void)sprintf(p, "last_event_id=%%31&channel=%%21");
	set(f, "REQUEST_METHOD", "GET");
	set(f, "REQUEST_URI", uri);
	read_it(f);
	want_refused(f, 400, "\"!\"");
	assert_int_equal(f->r.n_channels, 61);
	assert_span(f->r.channel[0], SPAN("a"));
	assert_span(f->r.channel[1], SPAN("caa"));
	assert_span(f->r.channel[60], SPAN("cch"));
}

static void
no_memory_is_told_and_the_next_request_is_served(void **state)
{
	struct fixture *f = *state;

	ask(f, "channel=a");
	fault_alloc_at(1);
	assert_status(request_read(&f->r, &f->params, &f->rules), ST_NOMEM);
	assert_true(fault_hit());
	read_it(f);
	want_channels(f, "a");
}

/* ---- for the metrics ----------------------------------------------------- */

static void
the_web_server_in_front_is_known_by_its_name(void **state)
{
	static const struct {
		const char *software;
		enum front front;
	} known[] = {
	    {"Apache/2.4.62 (Debian)", FRONT_APACHE},
	    {"lighttpd/1.4.69", FRONT_LIGHTTPD},
	    {"nginx/1.22.1", FRONT_NGINX},
	    {"Caddy", FRONT_OTHER},
	    {"", FRONT_OTHER},
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		clear(f);
		set(f, "SERVER_SOFTWARE", known[i].software);
		read_it(f);
		assert_int_equal(f->r.front, known[i].front);
		assert_int_equal(f->r.thread_per_stream,
		    known[i].front == FRONT_APACHE);
	}
	clear(f);
	read_it(f);
	assert_int_equal(f->r.front, FRONT_OTHER);
	assert_string_equal(frontend_name(FRONT_CGI), "cgi");
}

/* Does a request with this query and Last-Event-ID come back? */
static bool
comes_back(struct fixture *f, const char *query, const char *header)
{
	ask(f, query);
	if (header != NULL)
		set(f, "HTTP_LAST_EVENT_ID", header);
	read_it(f);
	return f->r.resumes;
}

static void
a_client_that_comes_back_brings_the_id_of_an_event(void **state)
{
	struct fixture *f = *state;

	assert_false(comes_back(f, "channel=a", NULL));
	assert_false(comes_back(f, "channel=a&generation=g", NULL));
	assert_false(comes_back(f, "channel=a&last=5", NULL));
	assert_true(comes_back(f, "channel=a", "7"));
	assert_true(comes_back(f, "channel=a&last_event_id=7", NULL));
	assert_true(comes_back(f, "channel=a&lastEventId=foreign", NULL));
	/* The beginning is asked for by who begins, but for a browser's 0. */
	assert_false(comes_back(f, "channel=a&last_event_id=0", NULL));
	assert_false(comes_back(f, "channel=a&last_event_id=earliest", NULL));
	assert_true(comes_back(f, "channel=a", "0"));
	assert_true(
	    comes_back(f, "channel=a&last_event_id=0&generation=g", NULL));
}

static void
that_it_came_back_is_known_of_a_refused_client_too(void **state)
{
	struct fixture *f = *state;

	assert_true(comes_back(f, "channel=%", "7"));
	assert_int_equal(f->r.kind, REQUEST_REFUSED);
	assert_true(comes_back(f, "last_event_id=7&channel=b d", NULL));
	assert_false(comes_back(f, "", NULL));
	assert_int_equal(f->r.kind, REQUEST_REFUSED);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_get_is_a_live_stream_with_nothing_special),
	    TEST(a_head_is_the_head_of_a_stream_or_of_an_error),
	    TEST(options_is_a_preflight_whatever_else_it_says),
	    TEST(other_methods_are_refused_with_those_allowed),
	    TEST(a_request_that_did_not_fit_is_refused_whatever_is_there),
	    TEST(an_accept_that_excludes_streams_is_refused),
	    TEST(channels_come_from_the_query_in_every_notation),
	    TEST(channels_come_from_the_path),
	    TEST(a_path_without_a_name_names_no_channel),
	    TEST(path_and_query_are_put_together),
	    TEST(a_query_is_found_in_the_uri_when_there_is_no_query_string),
	    TEST(bad_channels_are_refused_and_named),
	    TEST(a_long_bad_name_is_shown_in_part),
	    TEST(a_broken_path_is_refused),
	    TEST(sixty_four_channels_are_the_most),
	    TEST(the_default_channel_is_for_those_that_name_none),
	    TEST(of_several_ids_the_header_counts_else_the_furthest),
	    TEST(earliest_and_zero_are_everything_retained),
	    TEST(a_foreign_id_is_a_position_and_never_an_error),
	    TEST(a_foreign_id_in_the_query_is_no_error_either),
	    TEST(what_is_echoed_of_an_id_is_short_and_whole_characters),
	    TEST(last_begins_with_the_newest),
	    TEST(a_last_that_is_no_number_is_refused),
	    TEST(events_are_listed_once_each),
	    TEST(bad_event_names_are_refused),
	    TEST(forms_are_switched_on_by_their_values),
	    TEST(the_generation_is_passed_on),
	    TEST(an_origin_is_allowed_when_it_is_listed),
	    TEST(an_origin_is_known_for_errors_and_preflights_too),
	    TEST(the_servers_cap_is_a_decimal_or_a_safe_one),
	    TEST(the_share_of_an_address_is_a_decimal_or_a_safe_one),
	    TEST(a_limit_that_is_not_given_is_none),
	    TEST(slots_are_counted_for_each_server_and_location),
	    TEST(the_address_is_what_the_server_says),
	    TEST(a_request_can_be_read_again_into_the_same_object),
	    TEST(everything_encoded_still_fits),
	    TEST(no_memory_is_told_and_the_next_request_is_served),
	    TEST(the_web_server_in_front_is_known_by_its_name),
	    TEST(a_client_that_comes_back_brings_the_id_of_an_event),
	    TEST(that_it_came_back_is_known_of_a_refused_client_too),
	};

	return RUN(tests);
}
