/* SPDX-License-Identifier: MIT */
/* A process's reports about itself, read at the other end of the socket. */
#include "own_metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "fault.h"
#include "json.h"
#include "log.h"
#include "tmpdir.h"
#include "unit.h"

struct pubd {
	struct loop *loop;
	char path[100];
	int listener, fd;
	struct buf in;
	uint64_t n_fills;
};

static void
on_fill(void *arg, struct metrics *f)
{
	struct pubd *p = arg;

	metrics_set(f, METRIC_SCRAPES, ++p->n_fills);
}

static void
start(struct pubd *p, void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	*p = (struct pubd){.fd = -1};
	(void)snprintf(p->path, sizeof(p->path), "%s",
	    tmpdir_path(*state, "s"));
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", p->path);
	p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(p->listener, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(p->listener, 8), 0);
	assert_status(loop_new(&p->loop), ST_OK);
	buf_init(&p->in, 1 << 16);
}

static void
stop(struct pubd *p)
{
	loop_free(&p->loop);
	buf_fini(&p->in);
	(void)close(p->listener);
	if (p->fd >= 0)
		(void)close(p->fd);
}

static struct own_metrics *
new_self(struct pubd *p)
{
	const struct own_metrics_options o = {.role = "metrics",
	    .socket = p->path,
	    .fill = on_fill,
	    .arg = p};
	struct own_metrics *s;

	assert_status(own_metrics_new(&s, p->loop, &o), ST_OK);
	p->fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(p->fd >= 0);
	return s;
}

/* The next line; turns the loop until it is there. */
static struct json *
next(struct pubd *p, struct json_parser *parser, bool running)
{
	struct json *root;
	struct errmsg err;
	const char *end;
	size_t len;

	while ((end = span_find(buf_span(&p->in), '\n')) == NULL) {
		ssize_t n;

		if (running)
			assert_status(loop_turn(p->loop, 10000), ST_OK);
		assert_status(buf_reserve(&p->in, 4096), ST_OK);
		n = read(p->fd, buf_tail(&p->in), buf_room(&p->in));
		if (n > 0)
			buf_grew(&p->in, (size_t)n);
		else
			assert_true(running && errno == EAGAIN);
	}
	len = (size_t)(end - buf_span(&p->in).p);
	assert_status(
	    json_parse(parser, span_of(buf_span(&p->in).p, len), &root, &err),
	    ST_OK);
	buf_consume(&p->in, len + 1);
	return root;
}

static void
want_report(struct json *root, int64_t n_scrapes)
{
	int64_t v;

	assert_span(json_text(json_get(root, "op")), SPAN("report"));
	assert_span(json_text(json_get(root, "role")), SPAN("metrics"));
	assert_true(
	    span_starts(json_text(json_get(root, "name")), SPAN("metrics-")));
	assert_true(json_int(json_get(root, "streams"), &v));
	assert_int_equal(v, 0);
	assert_true(
	    json_int(json_get(json_get(root, "counters"), "scrapes"), &v));
	assert_int_equal(v, n_scrapes);
	assert_true(
	    json_int(json_get(json_get(root, "gauges"), "rss_bytes"), &v));
	assert_true(v > 0);
	json_free(&root);
}

static void
it_watches_reports_and_says_a_last_word(void **state)
{
	struct json_parser *parser;
	struct own_metrics *s;
	struct json *root;
	struct pubd p;

	start(&p, state);
	assert_status(json_parser_new(&parser), ST_OK);
	s = new_self(&p);
	root = next(&p, parser, true);
	assert_span(json_text(json_get(root, "op")), SPAN("watch"));
	assert_span(json_text(json_get(root, "role")), SPAN("metrics"));
	assert_non_null(json_get(root, "wake"));
	json_free(&root);
	want_report(next(&p, parser, true), 1);
	own_metrics_free(&s);
	assert_null(s);
	want_report(next(&p, parser, false), 2);
	json_parser_free(&parser);
	stop(&p);
}

static void
the_last_error_is_told_as_text(void **state)
{
	struct json_parser *parser;
	struct own_metrics *s;
	struct json *root;
	struct pubd p;
	int64_t v;

	start(&p, state);
	assert_status(json_parser_new(&parser), ST_OK);
	log_init("test", LOG_TEXT, LOG_ERROR_);
	log_error("it is \"broken\"");
	s = new_self(&p);
	root = next(&p, parser, true);
	json_free(&root);
	root = next(&p, parser, true);
	assert_true(json_int(json_get(root, "error_ms"), &v) && v > 0);
	assert_span(json_text(json_get(root, "error")),
	    SPAN("it is \"broken\""));
	json_free(&root);
	own_metrics_free(&s);
	json_parser_free(&parser);
	stop(&p);
}

static void
an_allocation_that_fails_is_told(void **state)
{
	const struct own_metrics_options o = {.role = "metrics",
	    .fill = on_fill};
	struct own_metrics_options with = o;
	struct own_metrics *s = NULL;
	struct pubd p;
	enum status st;
	unsigned n = 0;

	start(&p, state);
	with.socket = p.path;
	with.arg = &p;
	do {
		fault_alloc_at(++n);
		st = own_metrics_new(&s, p.loop, &with);
		if (st == ST_OK)
			own_metrics_free(&s);
		else
			assert_status(st, ST_NOMEM);
	} while (fault_hit());
	assert_status(st, ST_OK);
	assert_true(n > 2);
	stop(&p);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(it_watches_reports_and_says_a_last_word),
	    TEST(the_last_error_is_told_as_text),
	    TEST(an_allocation_that_fails_is_told),
	};

	return RUN(tests);
}
