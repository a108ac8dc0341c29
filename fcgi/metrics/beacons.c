/* SPDX-License-Identifier: MIT */
/*
 * Answers to beacons.  What costs least is looked at first; a page that may
 * not send any takes nothing out of its visitor's bucket.
 */
#include "beacons.h"

#include <assert.h>
#include <stdlib.h>

#include "http.h"
#include "limiter.h"
#include "origin.h"
#include "random.h"

#define METHODS           "POST, OPTIONS"
#define PREFLIGHT_HEADERS "Content-Type"

struct beacons {
	struct limiter *limiter;
	uint64_t random;
	struct beacon_counters counters;
};

/* One request under way. */
struct beacon_reading {
	struct beacons *b;
	const struct params *p;
	const struct conf *c;
	uint64_t now_us;
	int retry_after_s;    /* BEACON_RATE */
	struct beacon beacon; /* BEACON_ACCEPTED */
};

enum status
beacons_new(struct beacons **out, uint64_t seed)
{
	struct beacons *b = calloc(1, sizeof(*b));
	enum status st;

	if (b == NULL)
		return ST_NOMEM;
	b->random = seed;
	st = limiter_new(&b->limiter, random_next(&b->random));
	if (st != ST_OK) {
		free(b);
		return st;
	}
	*out = b;
	return ST_OK;
}

void
beacons_free(struct beacons **b)
{
	if (*b == NULL)
		return;
	limiter_free(&(*b)->limiter);
	free(*b);
	*b = NULL;
}

/* ---- what becomes of it ------------------------------------------------- */

/* application/json and text/plain, with any parameters. */
static bool
type_ok(const struct params *p)
{
	struct span rest = params_get(p, "CONTENT_TYPE"), type;

	if (!span_cut(&rest, ';', &type))
		return false;
	type = span_trim(type);
	return span_caseeq(type, SPAN("application/json")) ||
	    span_caseeq(type, SPAN("text/plain"));
}

static bool
is_sampled_out(struct beacon_reading *r)
{
	return (int64_t)(random_next(&r->b->random) % 100) >=
	    r->c->beacon_sample;
}

static enum beacon_result
judge_beacon(struct beacon_reading *r)
{
	const struct params *p = r->p;

	if (!beacon_origin_ok(params_get(p, "HTTP_ORIGIN"),
		params_get(p, "HTTP_HOST"),
		params_get(p, "HTTP_SEC_FETCH_SITE"),
		span_str(r->c->allow_origin)))
		return BEACON_ORIGIN;
	if (!limiter_take(r->b->limiter, params_get(p, "REMOTE_ADDR"),
		r->c->beacon_rate, r->now_us, &r->retry_after_s))
		return BEACON_RATE;
	if (!type_ok(p))
		return BEACON_TYPE;
	if (params_body(p).len > BEACON_MAX_BYTES)
		return BEACON_TOO_LARGE;
	if (is_sampled_out(r))
		return BEACON_SAMPLED;
	if (beacon_parse(params_body(p), &r->beacon) != ST_OK)
		return BEACON_MALFORMED;
	return BEACON_ACCEPTED;
}

static void
count_beacon(struct beacon_counters *t, const struct beacon *b)
{
	size_t i;

	if (b->has_first_event)
		hist_add(&t->first_event, HIST_TIME, b->first_event_us, 1);
	for (i = 0; i < b->n_lags; i++)
		hist_add(&t->lag, HIST_TIME, b->lag_us[i], 1);
	t->reconnects += b->reconnects;
	t->gaps += b->gaps;
	t->duplicates += b->duplicates;
	t->missing += b->missing;
	t->buffered += b->buffered;
	t->fallback[b->fallback]++;
}

/* ---- answers ------------------------------------------------------------ */

static enum status
no_content(struct buf *out, struct span origin, const char *preflight)
{
	size_t start = out->len;

	buf_add(out,
	    SPAN("Status: 204 No Content\r\n"
		 "Cache-Control: no-store\r\n"));
	http_add_cors(out, origin);
	if (origin.len > 0)
		buf_add(out, span_str(preflight));
	buf_add(out, SPAN("\r\n"));
	return buf_finish(out, start);
}

/* What each result is answered with; without it nothing compiles. */
#define ACCEPTED_ANSWER 0, NULL /* no error */
#define SAMPLED_ANSWER  0, NULL
#define ORIGIN_ANSWER                                                          \
	403,                                                                   \
	    "A page of this origin may not report here: add it to "            \
	    "allow_origin in walcast.conf."
#define TOO_LARGE_ANSWER 413, "A beacon has at most 4096 bytes."
#define MALFORMED_ANSWER                                                       \
	400,                                                                   \
	    "This is not a beacon: send one JSON object whose numbers are "    \
	    "within their bounds, see sse-metrics.fcgi(8)."
#define TYPE_ANSWER 415, "A beacon is sent as application/json or text/plain."
#define RATE_ANSWER 429, "Too many beacons from this address; send fewer."

#define ANSWER(member, word) [BEACON_##member] = {member##_ANSWER},
static const struct {
	int status;
	const char *detail;
} answers[BEACON_RESULTS] = {BEACON_RESULT_LIST(ANSWER)};

static_assert(BEACON_MAX_BYTES == 4096, "the answer to too large says so");

static enum status
refuse_beacon(struct buf *out, struct span origin, int status,
    const char *detail)
{
	const struct http_error e = {.status = status,
	    .detail = span_str(detail),
	    .allow = status == 405 ? SPAN(METHODS) : SPAN_NONE};

	return http_error(out, &e, origin, false);
}

static enum status
answer_result(const struct beacon_reading *r, enum beacon_result result,
    struct span origin, struct buf *out)
{
	const struct http_error e = {.status = answers[result].status,
	    .detail = span_str(answers[result].detail),
	    .retry_after_s = result == BEACON_RATE ? r->retry_after_s : 0};

	if (e.status == 0)
		return no_content(out, origin, "");
	return http_error(out, &e, origin, false);
}

static enum status
answer_post(struct beacon_reading *r, struct span origin, struct buf *out)
{
	struct beacon_counters *t = &r->b->counters;
	enum beacon_result result = judge_beacon(r);
	enum status st = answer_result(r, result, origin, out);

	if (st != ST_OK)
		return st;
	t->n[result]++;
	if (result == BEACON_ACCEPTED)
		count_beacon(t, &r->beacon);
	return ST_OK;
}

enum status
beacons_answer(struct beacons *b, const struct params *p, const struct conf *c,
    uint64_t now_us, struct buf *out)
{
	struct beacon_reading r = {.b = b, .p = p, .c = c, .now_us = now_us};
	struct span method = params_get(p, "REQUEST_METHOD");
	struct span origin = origin_allowed(span_str(c->allow_origin),
	    params_get(p, "HTTP_ORIGIN"));

	if (c->beacon != CONF_ON)
		return refuse_beacon(out, origin, 404,
		    "Beacons are off here: set beacon = on in walcast.conf.");
	if (b == NULL)
		return refuse_beacon(out, origin, 404,
		    "Beacons need sse-metrics.fcgi under FastCGI: plain CGI "
		    "cannot hold their rate.");
	if (span_eq(method, SPAN("OPTIONS")))
		return no_content(out, origin,
		    "Access-Control-Allow-Methods: " METHODS "\r\n"
		    "Access-Control-Allow-Headers: " PREFLIGHT_HEADERS "\r\n"
		    "Access-Control-Max-Age: 7200\r\n");
	if (!span_eq(method, SPAN("POST")))
		return refuse_beacon(out, origin, 405,
		    "A beacon is sent with POST.");
	return answer_post(&r, origin, out);
}

/* ---- what was counted --------------------------------------------------- */

const struct beacon_counters *
beacons_counters(const struct beacons *b)
{
	return &b->counters;
}

/* The cell of each, by its name: a member without a cell does not compile. */
#define RESULT(member, word)    METRIC_BEACONS_##member,
#define TRANSPORT(member, word) METRIC_BROWSER_TRANSPORT_##member,

static const enum metric_cell result_cells[BEACON_RESULTS] = {
    BEACON_RESULT_LIST(RESULT)};
static const enum metric_cell transport_cells[BEACON_FALLBACKS] = {
    BEACON_FALLBACK_LIST(TRANSPORT)};

void
beacons_report(const struct beacons *b, struct metrics *f)
{
	const struct beacon_counters *t = &b->counters;
	unsigned i;

	for (i = 0; i < BEACON_RESULTS; i++)
		metrics_set(f, result_cells[i], t->n[i]);
	for (i = 0; i < BEACON_FALLBACKS; i++)
		metrics_set(f, transport_cells[i], t->fallback[i]);
	metrics_set(f, METRIC_BROWSER_RECONNECTS, t->reconnects);
	metrics_set(f, METRIC_BROWSER_GAPS, t->gaps);
	metrics_set(f, METRIC_BROWSER_DUPLICATES, t->duplicates);
	metrics_set(f, METRIC_BROWSER_MISSING, t->missing);
	metrics_set(f, METRIC_BROWSER_BUFFERED, t->buffered);
	metrics_set_hist(f, METRIC_BROWSER_FIRST, &t->first_event);
	metrics_set_hist(f, METRIC_BROWSER_LAG, &t->lag);
}
