/* SPDX-License-Identifier: MIT */
/*
 * The exporter against collectors on loopback: one that answers (a thread
 * here), one that never does (nobody accepts), one that is not there.
 */
#include "exporter.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "log.h"
#include "name.h"
#include "unit.h"

#define PATIENCE_US 30000000 /* then what a test waits for never comes */
#define URL_BYTES   64

/* ---- waiting ------------------------------------------------------------ */

/* A turn of waiting for something that another thread does. */
static void
wait_a_turn(uint64_t since_us)
{
	assert_true(clock_mono_us() - since_us < PATIENCE_US);
	(void)poll(NULL, 0, 2);
}

static struct exporter_counts
wait_until_sent(struct exporter *x, uint64_t n_spans)
{
	uint64_t since_us = clock_mono_us();
	struct exporter_counts c = exporter_counts(x);

	while (c.exported + c.dropped < n_spans) {
		wait_a_turn(since_us);
		c = exporter_counts(x);
	}
	return c;
}

static void
wait_until_failed(struct exporter *x, uint64_t n_requests)
{
	uint64_t since_us = clock_mono_us();

	while (exporter_counts(x).failed < n_requests)
		wait_a_turn(since_us);
}

/* ---- sockets ------------------------------------------------------------ */

/* Returns a socket on a free port of loopback and the URL that leads there. */
static int
bind_loopback(char url[URL_BYTES])
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	(void)snprintf(url, URL_BYTES, "http://127.0.0.1:%u/v1/traces",
	    (unsigned)ntohs(a.sin_port));
	return fd;
}

/* ---- a collector -------------------------------------------------------- */

#define MAX_REQUESTS 8

struct collector {
	int listener;
	char url[URL_BYTES];
	const char *answer; /* all of it, with its headers */
	pthread_t thread;
	pthread_mutex_t mutex;
	bool stopped;
	int conn;                          /* -1: none */
	struct buf requests[MAX_REQUESTS]; /* heads and bodies */
	size_t n_requests;
};

#define ANSWER(status, headers, length, body)                                  \
	"HTTP/1.1 " status "\r\n" headers                                      \
	"Content-Type: application/json\r\nContent-Length: " length            \
	"\r\n\r\n" body
#define ANSWER_OK ANSWER("200 OK", "", "2", "{}")

/* The bytes of a request that has come whole; 0: not yet. */
static size_t
request_length(struct span s)
{
	const char *end, *length;

	end = s.len == 0 ? NULL : memmem(s.p, s.len, "\r\n\r\n", 4);
	if (end == NULL)
		return 0;
	length = memmem(s.p, (size_t)(end - s.p), "Content-Length: ", 16);
	return (size_t)(end - s.p) + 4 +
	    (length == NULL ? 0 : strtoul(length + 16, NULL, 10));
}

static void
keep_request(struct collector *c, struct span s)
{
	struct buf *b;

	(void)pthread_mutex_lock(&c->mutex);
	assert_true(c->n_requests < MAX_REQUESTS);
	b = &c->requests[c->n_requests++];
	buf_init(b, 1 << 22);
	assert_status(buf_append(b, s), ST_OK);
	(void)pthread_mutex_unlock(&c->mutex);
}

/* Until the peer closes, or the collector is stopped. */
static void
serve(struct collector *c, int fd)
{
	struct buf in;
	ssize_t n;
	size_t whole;

	buf_init(&in, 1 << 22);
	for (;;) {
		assert_status(buf_reserve(&in, 65536), ST_OK);
		n = recv(fd, buf_tail(&in), buf_room(&in), 0);
		if (n <= 0)
			break;
		buf_grew(&in, (size_t)n);
		whole = request_length(buf_span(&in));
		if (whole == 0 || in.len < whole)
			continue;
		assert_int_equal(in.len, whole);
		keep_request(c, buf_span(&in));
		buf_clear(&in);
		n = send(fd, c->answer, strlen(c->answer), MSG_NOSIGNAL);
		assert_true(n == (ssize_t)strlen(c->answer));
	}
	buf_fini(&in);
}

static void *
collect(void *arg)
{
	struct collector *c = arg;
	int fd;

	while ((fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		(void)pthread_mutex_lock(&c->mutex);
		c->conn = fd;
		if (c->stopped)
			(void)shutdown(fd, SHUT_RDWR);
		(void)pthread_mutex_unlock(&c->mutex);
		serve(c, fd);
		(void)pthread_mutex_lock(&c->mutex);
		c->conn = -1;
		(void)close(fd);
		(void)pthread_mutex_unlock(&c->mutex);
	}
	return NULL;
}

static void
collector_start(struct collector *c, const char *answer)
{
	memset(c, 0, sizeof(*c));
	c->answer = answer;
	c->conn = -1;
	c->listener = bind_loopback(c->url);
	assert_int_equal(listen(c->listener, 4), 0);
	assert_int_equal(pthread_mutex_init(&c->mutex, NULL), 0);
	assert_int_equal(pthread_create(&c->thread, NULL, collect, c), 0);
}

static void
collector_stop(struct collector *c)
{
	size_t i;

	(void)pthread_mutex_lock(&c->mutex);
	c->stopped = true;
	(void)shutdown(c->listener, SHUT_RDWR); /* ends accept */
	if (c->conn >= 0)
		(void)shutdown(c->conn, SHUT_RDWR);
	(void)pthread_mutex_unlock(&c->mutex);
	(void)pthread_join(c->thread, NULL);
	(void)close(c->listener);
	(void)pthread_mutex_destroy(&c->mutex);
	for (i = 0; i < c->n_requests; i++)
		buf_fini(&c->requests[i]);
}

static size_t
collector_count(struct collector *c)
{
	size_t n;

	(void)pthread_mutex_lock(&c->mutex);
	n = c->n_requests;
	(void)pthread_mutex_unlock(&c->mutex);
	return n;
}

/* Request i, which has come. */
static struct span
collector_request(struct collector *c, size_t i)
{
	assert_true(i < collector_count(c));
	return buf_span(&c->requests[i]);
}

static struct span
body_of(struct span request)
{
	const char *p = memmem(request.p, request.len, "\r\n\r\n", 4);

	assert_non_null(p);
	return span_skip(request, (size_t)(p - request.p) + 4);
}

static size_t
count_spans(struct span request)
{
	const char *p, *end = request.p + request.len;
	size_t n = 0;

	p = request.p;
	while ((p = memmem(p, (size_t)(end - p), "\"traceId\"", 9)) != NULL) {
		p += 9;
		n++;
	}
	return n;
}

static void
assert_header(struct span request, const char *line)
{
	if (memmem(request.p, request.len, line, strlen(line)) == NULL)
		fail_msg("no \"%s\" in %.*s", line, 300, request.p);
}

/* ---- spans -------------------------------------------------------------- */

static struct trace_span
a_span(int64_t id)
{
	struct trace_span s = {.kind = TRACE_COMMIT,
	    .start_ns = 1700000000000000001,
	    .end_ns = 1700000000000250002,
	    .channel = SPAN("orders"),
	    .type = SPAN("order.paid"),
	    .body_bytes = 212,
	    .event_id = id};

	memset(s.trace_id, '4', sizeof(s.trace_id));
	memset(s.parent_id, '5', sizeof(s.parent_id));
	memset(s.span_id, '6', sizeof(s.span_id));
	return s;
}

static struct exporter *
exporter_to(const char *url)
{
	struct exporter *x = NULL;
	struct errmsg err = {""};

	if (exporter_new(&x, url, &err) != ST_OK)
		fail_msg("%s", err.text);
	return x;
}

/* Returns how many of them were taken. */
static uint64_t
offer_n(struct exporter *x, uint64_t n)
{
	struct trace_span s = a_span(1);
	uint64_t taken = 0;

	while (n-- > 0)
		taken += exporter_offer(x, &s) ? 1 : 0;
	return taken;
}

/* ---- tests -------------------------------------------------------------- */

static void
spans_arrive_in_one_request_of_otlp(void **state)
{
	const struct trace_span sent[] = {a_span(1), a_span(2), a_span(3)};
	struct exporter_counts counts;
	struct collector c;
	struct exporter *x;
	struct buf want;
	size_t i;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	for (i = 0; i < 3; i++)
		assert_true(exporter_offer(x, &sent[i]));
	counts = wait_until_sent(x, 3);
	assert_int_equal(counts.exported, 3);
	assert_int_equal(counts.dropped, 0);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(collector_count(&c), 1);
	assert_header(collector_request(&c, 0), "POST /v1/traces HTTP/1.1\r\n");
	assert_header(collector_request(&c, 0),
	    "\r\nContent-Type: application/json\r\n");
	assert_header(collector_request(&c, 0),
	    "\r\nUser-Agent: walcast/" WALCAST_VERSION "\r\n");
	buf_init(&want, 1 << 20);
	assert_status(otlp_encode(&want, sent, 3), ST_OK);
	assert_span(body_of(collector_request(&c, 0)), buf_span(&want));
	buf_fini(&want);
	exporter_free(&x);
	assert_null(x);
	collector_stop(&c);
}

static void
assert_only_text(struct span request, char byte)
{
	char text[NAME_MAX_BYTES + 3];

	memset(text, byte, sizeof(text));
	text[0] = text[NAME_MAX_BYTES + 1] = '"';
	text[NAME_MAX_BYTES + 2] = '\0';
	assert_header(request, text);
}

static void
texts_are_copied_with_bounds(void **state)
{
	struct trace_span s = a_span(1);
	char channel[200], type[200];
	struct collector c;
	struct exporter *x;
	size_t i;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	s.channel = span_of(channel, sizeof(channel));
	s.type = span_of(type, sizeof(type));
	/* So many that the last slot of the ring has them, too. */
	for (i = 0; i < EXPORTER_QUEUE; i++) {
		memset(channel, 'c', sizeof(channel));
		memset(type, 't', sizeof(type));
		assert_true(exporter_offer(x, &s));
		memset(channel, 'x', sizeof(channel));
		memset(type, 'x', sizeof(type));
	}
	exporter_free(&x);
	for (i = 0; i < collector_count(&c); i++) {
		assert_only_text(collector_request(&c, i), 'c');
		assert_only_text(collector_request(&c, i), 't');
		assert_null(memmem(collector_request(&c, i).p,
		    collector_request(&c, i).len, "xx", 2));
	}
	assert_true(i >= EXPORTER_QUEUE / EXPORTER_BATCH);
	collector_stop(&c);
}

static void
a_text_may_be_missing(void **state)
{
	struct trace_span s = a_span(1);
	struct collector c;
	struct exporter *x;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	s.channel = s.type = SPAN_NONE;
	assert_true(exporter_offer(x, &s));
	exporter_free(&x);
	assert_header(collector_request(&c, 0),
	    "\"walcast.event.type\",\"value\":{\"stringValue\":\"\"}");
	collector_stop(&c);
}

static void
a_batch_has_512_spans_at_most(void **state)
{
	const uint64_t n_sent = 2 * EXPORTER_BATCH + 1;
	struct collector c;
	struct exporter *x;
	size_t i, n = 0;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	assert_int_equal(offer_n(x, n_sent), n_sent);
	exporter_free(&x);
	assert_true(collector_count(&c) >= 3);
	for (i = 0; i < collector_count(&c); i++) {
		assert_true(
		    count_spans(collector_request(&c, i)) <= EXPORTER_BATCH);
		n += count_spans(collector_request(&c, i));
	}
	assert_int_equal(n, n_sent);
	collector_stop(&c);
}

static void
free_sends_what_is_queued(void **state)
{
	struct collector c;
	struct exporter *x;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	assert_int_equal(offer_n(x, 5), 5);
	exporter_free(&x);
	assert_int_equal(collector_count(&c), 1);
	assert_int_equal(count_spans(collector_request(&c, 0)), 5);
	collector_stop(&c);
}

/* Batches that lie across the end of the ring, with ids that tell. */
static void
the_order_is_kept_when_the_ring_goes_round(void **state)
{
	struct collector c;
	struct exporter *x;
	struct span body;
	char last[64];
	int64_t id = 0;
	size_t i;

	(void)state;
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	for (i = 0; i < 6; i++) {
		/* The first one is short, and shifts the others. */
		int64_t end = id + (i == 0 ? 100 : EXPORTER_BATCH);

		while (id < end) {
			struct trace_span s = a_span(++id);

			assert_true(exporter_offer(x, &s));
		}
		assert_int_equal(wait_until_sent(x, (uint64_t)id).exported, id);
		body = body_of(collector_request(&c, i));
		(void)snprintf(last, sizeof(last), "\"%lld\"}}]}]}]}]}",
		    (long long)id);
		assert_true(body.len > strlen(last));
		assert_span(span_skip(body, body.len - strlen(last)),
		    span_str(last));
	}
	exporter_free(&x);
	collector_stop(&c);
}

/* Offers until so many were taken; returns how many were not. */
static uint64_t
offer_until_taken(struct exporter *x, uint64_t n)
{
	uint64_t since_us = clock_mono_us(), refused = 0;

	while (n > 0) {
		if (offer_n(x, 1) == 1) {
			n--;
			continue;
		}
		refused++;
		wait_a_turn(since_us);
	}
	return refused;
}

static void
offers_drop_and_count_while_a_collector_does_not_answer(void **state)
{
	struct exporter_counts counts;
	uint64_t refused;
	char url[URL_BYTES];
	struct exporter *x;
	int fd = bind_loopback(url);

	(void)state;
	assert_int_equal(listen(fd, 4), 0);
	x = exporter_to(url);
	/* One batch is under way, and does not keep the queue from filling. */
	refused = offer_until_taken(x, EXPORTER_BATCH + EXPORTER_QUEUE);
	/* An offer that waited for an answer would not be refused. */
	assert_int_equal(offer_n(x, 100), 0);
	refused += 100;
	counts = exporter_counts(x);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counts.dropped, refused);
	/* The request ends by its own limit, and its spans are not kept. */
	wait_until_failed(x, 1);
	counts = exporter_counts(x);
	assert_int_equal(counts.exported, 0);
	assert_int_equal(counts.dropped, refused + EXPORTER_BATCH);
	exporter_free(&x); /* with a full queue, and in the next request */
	assert_non_null(strstr(log_last_error()->text,
	    " trace spans were dropped so far, 2 requests to http://127."));
	assert_int_equal(strtoull(log_last_error()->text, NULL, 10),
	    refused + EXPORTER_BATCH + EXPORTER_QUEUE);
	(void)close(fd);
}

/* A listener whose queue is full leaves a SYN without an answer. */
static void
a_connection_that_is_not_made_ends_after_two_seconds(void **state)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char url[URL_BYTES];
	struct exporter *x;
	int fd = bind_loopback(url), client[4];
	size_t i;

	(void)state;
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	for (i = 0; i < 4; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(client[i] >= 0);
		(void)connect(client[i], (struct sockaddr *)&a, len);
	}
	x = exporter_to(url);
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 1);
	exporter_tell(x, 0);
	assert_non_null(strstr(log_last_error()->text, "after 2"));
	exporter_free(&x);
	for (i = 0; i < 4; i++)
		(void)close(client[i]);
	(void)close(fd);
}

static void
free_does_not_wait_for_a_collector_that_does_not_answer(void **state)
{
	char url[URL_BYTES];
	struct exporter *x;
	int fd = bind_loopback(url);

	(void)state;
	assert_int_equal(listen(fd, 4), 0);
	x = exporter_to(url);
	(void)offer_n(x, EXPORTER_BATCH);
	exporter_free(&x);
	/* The request's own limit would have given another reason. */
	assert_non_null(strstr(log_last_error()->text,
	    "pubd stopped before there was an answer"));
	(void)close(fd);
}

static void
a_collector_that_is_not_there_costs_its_spans_only(void **state)
{
	struct exporter_counts counts;
	char url[URL_BYTES];
	struct exporter *x;
	int fd = bind_loopback(url); /* nobody listens */

	(void)state;
	x = exporter_to(url);
	assert_int_equal(offer_n(x, EXPORTER_BATCH), EXPORTER_BATCH);
	wait_until_failed(x, 1);
	assert_int_equal(offer_n(x, EXPORTER_BATCH), EXPORTER_BATCH);
	wait_until_failed(x, 2);
	counts = exporter_counts(x);
	assert_int_equal(counts.exported, 0);
	assert_int_equal(counts.dropped, 2 * EXPORTER_BATCH);
	assert_int_equal(counts.failed, 2);
	exporter_free(&x);
	(void)close(fd);
}

static void
a_loss_is_told_once_and_again_a_minute_later(void **state)
{
	const uint64_t now_us = 5000000;
	char url[URL_BYTES];
	struct exporter *x;
	int64_t before;
	int fd = bind_loopback(url);

	(void)state;
	x = exporter_to(url);
	log_warnx("before");
	exporter_tell(x, now_us);
	assert_string_equal(log_last_error()->text, "before");
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 1);
	exporter_tell(x, now_us);
	assert_non_null(strstr(log_last_error()->text,
	    "512 trace spans were dropped so far, 1 requests to http://127."));
	log_warnx("before");
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 2);
	exporter_tell(x, now_us + EXPORTER_TELL_US - 1);
	assert_string_equal(log_last_error()->text, "before");
	exporter_tell(x, now_us + EXPORTER_TELL_US);
	assert_non_null(strstr(log_last_error()->text,
	    "1024 trace spans were dropped so far, 2 requests to http://127."));
	before = log_last_error()->ts_ms;
	log_warnx("before");
	exporter_tell(x, now_us + 3 * EXPORTER_TELL_US);
	assert_string_equal(log_last_error()->text, "before");
	assert_true(log_last_error()->ts_ms >= before);
	exporter_free(&x);
	assert_string_equal(log_last_error()->text, "before");
	(void)close(fd);
}

static void
a_log_line_shows_no_password(void **state)
{
	char url[URL_BYTES], with_password[2 * URL_BYTES];
	struct exporter *x;
	int fd = bind_loopback(url);

	(void)state;
	(void)snprintf(with_password, sizeof(with_password),
	    "http://user:hidden@%s?token=hidden#hidden", url + 7);
	x = exporter_to(with_password);
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 1);
	exporter_tell(x, 0);
	assert_non_null(strstr(log_last_error()->text, url));
	assert_null(strstr(log_last_error()->text, "hidden"));
	assert_null(strstr(log_last_error()->text, "user"));
	exporter_free(&x);
	(void)close(fd);
}

static void
an_answer_other_than_2xx_drops_the_batch(void **state)
{
	struct exporter_counts counts;
	struct collector c;
	struct exporter *x;

	(void)state;
	collector_start(&c, ANSWER("503 No", "Retry-After: 0\r\n", "0", ""));
	x = exporter_to(c.url);
	(void)offer_n(x, EXPORTER_BATCH);
	counts = wait_until_sent(x, EXPORTER_BATCH);
	assert_int_equal(counts.dropped, EXPORTER_BATCH);
	assert_int_equal(counts.failed, 1);
	exporter_tell(x, 0);
	assert_non_null(strstr(log_last_error()->text, "HTTP status 503"));
	exporter_free(&x);
	assert_int_equal(collector_count(&c), 1); /* not sent twice */
	collector_stop(&c);
}

static void
a_redirect_is_not_followed(void **state)
{
	struct collector from, to;
	char answer[256];
	struct exporter *x;

	(void)state;
	collector_start(&to, ANSWER_OK);
	(void)snprintf(answer, sizeof(answer),
	    "HTTP/1.1 307 There\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
	    to.url);
	collector_start(&from, answer);
	x = exporter_to(from.url);
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 1);
	exporter_free(&x);
	assert_int_equal(collector_count(&from), 1);
	assert_int_equal(collector_count(&to), 0);
	collector_stop(&from);
	collector_stop(&to);
}

static void
spans_that_a_collector_rejects_count_as_dropped(void **state)
{
	struct exporter_counts counts;
	struct collector c;
	struct exporter *x;

	(void)state;
	collector_start(&c,
	    ANSWER("200 OK", "", "40",
		"{\"partialSuccess\":{\"rejectedSpans\":\"2\"}}"));
	x = exporter_to(c.url);
	(void)offer_n(x, EXPORTER_BATCH);
	counts = wait_until_sent(x, EXPORTER_BATCH);
	assert_int_equal(counts.exported, EXPORTER_BATCH - 2);
	assert_int_equal(counts.dropped, 2);
	assert_int_equal(counts.failed, 0);
	exporter_free(&x);
	collector_stop(&c);
}

static void
a_long_answer_is_read_and_forgotten(void **state)
{
	static char answer[20000];
	struct collector c;
	struct exporter *x;

	(void)state;
	memset(answer, 'x', sizeof(answer) - 1);
	(void)memcpy(answer, ANSWER("200 OK", "", "19000", "{") "     ",
	    sizeof(ANSWER("200 OK", "", "19000", "{")) - 1);
	answer[sizeof(ANSWER("200 OK", "", "19000", "")) - 1 + 19000] = '\0';
	collector_start(&c, answer);
	x = exporter_to(c.url);
	(void)offer_n(x, EXPORTER_BATCH);
	assert_int_equal(wait_until_sent(x, EXPORTER_BATCH).exported,
	    EXPORTER_BATCH);
	(void)offer_n(x, EXPORTER_BATCH);
	assert_int_equal(wait_until_sent(x, 2 * EXPORTER_BATCH).exported,
	    2 * EXPORTER_BATCH);
	exporter_free(&x);
	collector_stop(&c);
}

static void
the_environment_names_no_proxy_for_it(void **state)
{
	char proxy[URL_BYTES];
	struct collector c;
	struct exporter *x;
	int fd = bind_loopback(proxy); /* nobody listens */

	(void)state;
	assert_int_equal(setenv("http_proxy", proxy, 1), 0);
	assert_int_equal(setenv("all_proxy", proxy, 1), 0);
	collector_start(&c, ANSWER_OK);
	x = exporter_to(c.url);
	(void)offer_n(x, 1);
	exporter_free(&x);
	assert_int_equal(collector_count(&c), 1);
	collector_stop(&c);
	(void)unsetenv("http_proxy");
	(void)unsetenv("all_proxy");
	(void)close(fd);
}

static void
an_endpoint_is_an_http_url(void **state)
{
	const char *const bad[] = {"", "127.0.0.1:4318", "http://",
	    "ftp://127.0.0.1/", "file:///etc/passwd", "http://a b/",
	    "http://127.0.0.1:99999/", "/v1/traces"};
	struct exporter *x = NULL;
	struct errmsg err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_status(exporter_new(&x, bad[i], &err), ST_INVALID);
		assert_null(x);
		assert_non_null(strstr(err.text, "otlp_endpoint: "));
	}
	x = exporter_to("https://collector.example:4318/v1/traces");
	exporter_free(&x);
}

static void
signals_are_left_to_the_other_threads(void **state)
{
	struct timespec at_once = {0, 0};
	char url[URL_BYTES];
	struct exporter *x;
	sigset_t usr1, before;
	int fd = bind_loopback(url);

	(void)state;
	x = exporter_to(url);
	(void)offer_n(x, EXPORTER_BATCH);
	wait_until_failed(x, 1); /* so its thread is running */
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	assert_false(sigismember(&before, SIGUSR1));
	(void)sigemptyset(&usr1);
	(void)sigaddset(&usr1, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	/* It ends the process unless every thread blocks it. */
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(sigtimedwait(&usr1, NULL, &at_once), SIGUSR1);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	exporter_free(&x);
	(void)close(fd);
}

static void
no_exporter_starts_when_allocation_fails(void **state)
{
	struct exporter *x = NULL;
	struct errmsg err;
	unsigned n;
	bool hit;

	(void)state;
	for (n = 1;; n++) {
		enum status st;

		err.text[0] = '\0';
		fault_alloc_at(n);
		st = exporter_new(&x, "http://127.0.0.1:1/", &err);
		hit = fault_hit();
		if (!hit)
			break;
		assert_status(st, ST_NOMEM);
		assert_null(x);
		assert_non_null(strstr(err.text, "no memory"));
	}
	assert_true(n > 2);
	assert_non_null(x);
	exporter_free(&x);
}

static void
no_exporter_takes_and_counts_nothing(void **state)
{
	struct trace_span s = a_span(1);
	struct exporter *none = NULL;

	(void)state;
	assert_false(exporter_offer(none, &s));
	assert_int_equal(exporter_counts(none).dropped, 0);
	exporter_tell(none, 0);
	exporter_free(&none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(spans_arrive_in_one_request_of_otlp),
	    cmocka_unit_test(texts_are_copied_with_bounds),
	    cmocka_unit_test(a_text_may_be_missing),
	    cmocka_unit_test(a_batch_has_512_spans_at_most),
	    cmocka_unit_test(free_sends_what_is_queued),
	    cmocka_unit_test(the_order_is_kept_when_the_ring_goes_round),
	    cmocka_unit_test(
		offers_drop_and_count_while_a_collector_does_not_answer),
	    cmocka_unit_test(
		a_connection_that_is_not_made_ends_after_two_seconds),
	    cmocka_unit_test(
		free_does_not_wait_for_a_collector_that_does_not_answer),
	    cmocka_unit_test(
		a_collector_that_is_not_there_costs_its_spans_only),
	    cmocka_unit_test(a_loss_is_told_once_and_again_a_minute_later),
	    cmocka_unit_test(a_log_line_shows_no_password),
	    cmocka_unit_test(an_answer_other_than_2xx_drops_the_batch),
	    cmocka_unit_test(a_redirect_is_not_followed),
	    cmocka_unit_test(spans_that_a_collector_rejects_count_as_dropped),
	    cmocka_unit_test(a_long_answer_is_read_and_forgotten),
	    cmocka_unit_test(the_environment_names_no_proxy_for_it),
	    cmocka_unit_test(an_endpoint_is_an_http_url),
	    cmocka_unit_test(signals_are_left_to_the_other_threads),
	    cmocka_unit_test(no_exporter_starts_when_allocation_fails),
	    cmocka_unit_test(no_exporter_takes_and_counts_nothing),
	};

	return RUN(tests);
}
