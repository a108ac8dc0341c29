/* SPDX-License-Identifier: MIT */
/* Answers of sse-metrics.fcgi.  Holds nothing open between two of them. */
#include "metrics_http.h"

#include <string.h>

#include "accept.h"
#include "clock.h"
#include "exposition.h"
#include "form.h"
#include "http.h"
#include "page.h"
#include "random.h"
#include "route.h"
#include "scrape.h"

#define JSON_TYPE "application/json"

enum status
metrics_http_error(struct buf *out, int status, struct span detail,
    bool head_only)
{
	const struct http_error e = {.status = status,
	    .detail = detail,
	    .allow = status == 405 ? SPAN("GET, HEAD") : SPAN_NONE,
	    .retry_after_s = status == 503 ? 5 : 0};

	return http_error(out, &e, SPAN_NONE, head_only);
}

/* ---- metrics ------------------------------------------------------------ */

static enum status
put_form(const struct scrape *s, enum form form, struct buf *body,
    struct span *type)
{
	size_t start = body->len;

	switch (form) {
	case FORM_JSON:
		*type = SPAN(JSON_TYPE);
		buf_note(body, scrape_json(s, body));
		buf_add(body, SPAN("\n"));
		return buf_finish(body, start);
	case FORM_OPENMETRICS:
		*type = SPAN(EXPOSITION_OPEN_TYPE);
		return exposition_put(s->metrics, EXPOSITION_OPEN, body);
	default:
		*type = SPAN(EXPOSITION_TEXT_TYPE);
		return exposition_put(s->metrics, EXPOSITION_TEXT, body);
	}
}

static enum status
put_metrics(struct metrics_http *a, struct buf *out, enum form form,
    bool head_only)
{
	struct span type;
	struct scrape s;
	struct buf body;
	enum status st;

	st = scrape_read(&s, a->conf->database, clock_real_ms());
	if (st != ST_OK)
		return st;
	a->n_scrapes++;
	buf_init(&body, METRICS_HTTP_MAX);
	st = put_form(&s, form, &body, &type);
	if (st == ST_OK)
		st = http_ok(out, 200, type, buf_span(&body), head_only);
	buf_fini(&body);
	scrape_fini(&s);
	return st;
}

enum status
metrics_http_look(struct metrics_http *a, struct buf *json,
    struct frame_open *open)
{
	struct scrape s;
	enum status st;

	st = scrape_read(&s, a->conf->database, clock_real_ms());
	if (st != ST_OK)
		return st;
	memcpy(a->generation, s.bounds.generation, sizeof(a->generation));
	open->head = s.bounds.head;
	open->oldest = s.bounds.oldest;
	open->generation = span_str(a->generation);
	open->server_time_ms = aggregate_now_ms(s.metrics);
	st = scrape_json(&s, json);
	scrape_fini(&s);
	return st;
}

static enum status
put_page(struct buf *out, bool head_only)
{
	const uint64_t nonce[2] = {random_seed(), random_seed()};

	return page_put(out, nonce, head_only);
}

static enum status
put_wanted(struct metrics_http *a, const struct params *p, struct buf *out,
    bool *stream, bool head_only)
{
	struct span accept = params_get(p, "HTTP_ACCEPT");
	enum form form = form_wanted(route_query(p), accept);

	switch (form) {
	case FORM_HTML:
		return put_page(out, head_only);
	case FORM_NO_FORMAT:
		return metrics_http_error(out, 400,
		    SPAN("This format is not known: there are prometheus, "
			 "openmetrics, json and html."),
		    head_only);
	case FORM_NO_CHANNEL:
		return metrics_http_error(out, 404,
		    SPAN("The only channel here is " FORM_CHANNEL
			 ": ask sse.fcgi for others."),
		    head_only);
	case FORM_STREAM:
		if (!accept_allows(accept, SPAN("text"), SPAN("event-stream")))
			return metrics_http_error(out, 406,
			    SPAN("A channel is an event stream: accept "
				 "text/event-stream."),
			    head_only);
		*stream = !head_only;
		return head_only ? http_stream_head(out, SPAN_NONE, SPAN_NONE)
				 : ST_OK;
	default:
		return put_metrics(a, out, form, head_only);
	}
}

/* ---- health ------------------------------------------------------------- */

static enum status
put_ready(struct metrics_http *a, struct buf *out, bool head_only)
{
	struct scrape s;
	struct buf body;
	enum status st;

	st = scrape_read(&s, a->conf->database, clock_real_ms());
	if (st != ST_OK)
		return st;
	buf_init(&body, METRICS_HTTP_MAX);
	st = scrape_ready_json(&s, &body);
	if (st == ST_OK)
		st = http_ok(out, scrape_ready(&s) ? 200 : 503, SPAN(JSON_TYPE),
		    buf_span(&body), head_only);
	buf_fini(&body);
	scrape_fini(&s);
	return st;
}

static enum status
put_path(struct metrics_http *a, const struct params *p, struct span path,
    struct buf *out, bool *stream)
{
	struct span method = params_get(p, "REQUEST_METHOD");
	bool head_only = span_eq(method, SPAN("HEAD"));

	if (span_eq(path, SPAN("beacon")))
		return beacons_answer(a->beacons, p, a->conf, clock_mono_us(),
		    out);
	if (!head_only && !span_eq(method, SPAN("GET")))
		return metrics_http_error(out, 405,
		    SPAN("Metrics are read with GET or HEAD."), false);
	if (span_eq(path, SPAN("healthz")))
		return http_ok(out, 200, SPAN(JSON_TYPE),
		    SPAN("{\"alive\":true}\n"), head_only);
	if (span_eq(path, SPAN("readyz")))
		return put_ready(a, out, head_only);
	if (path.len > 0)
		return metrics_http_error(out, 404,
		    SPAN("There is nothing at this path: /healthz, /readyz, "
			 "/beacon, or no path at all for the metrics."),
		    head_only);
	return put_wanted(a, p, out, stream, head_only);
}

enum status
metrics_http_put(struct metrics_http *a, const struct params *p,
    struct buf *out, bool *stream)
{
	struct span path;
	struct buf text;
	enum status st;

	*stream = false;
	if (p->cut)
		return metrics_http_error(out, 431, http_too_many_fields,
		    false);
	buf_init(&text, 4 * PARAMS_MAX_BYTES);
	st = buf_reserve(&text, route_room(p));
	if (st != ST_OK)
		return ST_NOMEM;
	if (route_path(&text, p, SPAN(METRICS_HTTP_PROGRAM), &path) == ST_OK)
		st = put_path(a, p, path, out, stream);
	else
		st = metrics_http_error(out, 400,
		    SPAN("The path has a broken percent escape."), false);
	buf_fini(&text);
	return st;
}
