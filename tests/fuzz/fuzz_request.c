/* SPDX-License-Identifier: MIT */
/*
 * A request made of any bytes: whatever comes out must keep request.h's
 * word, and its error must become a well-formed response.
 *
 * Input: lines; the first byte of each chooses the variable, the rest is its
 * value.
 */
#include "request.h"

#include <string.h>

#include "fuzz.h"
#include "http.h"
#include "name.h"

static const char *const names[] = {"QUERY_STRING", "REQUEST_URI", "PATH_INFO",
    "REQUEST_METHOD", "HTTP_ACCEPT", "HTTP_LAST_EVENT_ID", "HTTP_ORIGIN",
    "WALCAST_MAX_STREAMS", "WALCAST_LOCATION", "SERVER_SOFTWARE",
    "REMOTE_ADDR"};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void
add_line(struct params *p, struct span line)
{
	struct buf pair;

	if (line.len == 0)
		return;
	buf_init(&pair, 1 << 20);
	MUST(buf_printf(&pair,
		 "%s=", names[(unsigned char)line.p[0] % N_NAMES]) == ST_OK);
	MUST(buf_append(&pair, span_skip(line, 1)) == ST_OK);
	status_ignore(params_add(p, buf_span(&pair)));
	buf_fini(&pair);
}

/* Reads every byte, so that a sanitizer sees one that is not there. */
static void
touch(struct span s)
{
	static volatile unsigned char sink;
	size_t i;

	for (i = 0; i < s.len; i++)
		sink = (unsigned char)s.p[i];
	(void)sink;
}

static void
check_stream(const struct request *r)
{
	size_t i, j;

	MUST(r->n_channels >= 1 && r->n_channels <= REQUEST_MAX_CHANNELS);
	for (i = 0; i < r->n_channels; i++) {
		MUST(name_pattern_ok(r->channel[i]));
		MUST(!name_reserved(r->channel[i]));
		for (j = 0; j < i; j++)
			MUST(!span_eq(r->channel[i], r->channel[j]));
	}
	for (i = 0; i < r->n_events; i++)
		MUST(name_event_ok(r->event[i]));
	MUST(r->requested.len <= 64);
	MUST((r->position == POSITION_AFTER) == (r->after_id > 0));
	MUST((r->position == POSITION_LAST) == (r->last_n > 0));
	MUST(r->last_n >= 0 && r->last_n <= 1000000);
	touch(r->requested);
	touch(r->generation);
}

static void
check_refusal(const struct request *r)
{
	struct buf out;
	struct span s;

	MUST(r->error.status >= 400 && r->error.status < 500);
	MUST(r->error.detail.len > 0);
	MUST((r->error.status == 405) == (r->error.allow.len > 0));
	buf_init(&out, 1 << 16);
	MUST(http_error(&out, &r->error, r->origin, r->head_only) == ST_OK);
	s = buf_span(&out);
	MUST(span_starts(s, SPAN("Status: 4")));
	MUST(memmem(s.p, s.len, "\r\n\r\n", 4) != NULL);
	buf_fini(&out);
}

static void
check(const struct request *r)
{
	MUST(r->max_streams >= -1);
	MUST(r->slot_pool.len <= 256);
	touch(r->slot_pool);
	touch(r->origin);
	touch(r->remote);
	switch (r->kind) {
	case REQUEST_STREAM:
	case REQUEST_HEAD:
		MUST(r->head_only == (r->kind == REQUEST_HEAD));
		check_stream(r);
		break;
	case REQUEST_REFUSED:
		check_refusal(r);
		break;
	case REQUEST_PREFLIGHT:
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct params params;
	static struct request r;
	const struct request_rules rules = {
	    .default_channel = size % 2 == 0 ? SPAN("news,a.*") : SPAN_NONE,
	    .allow_origin = SPAN("https://a.example *x")};
	struct span rest = fuzz_span(data, size), line;

	params_init(&params);
	MUST(params_add(&params, SPAN("REQUEST_METHOD=GET")) == ST_OK ||
	    size == 0);
	if (size > 0 && data[0] == '!')
		params_fini(&params); /* the input says the method */
	while (span_cut(&rest, '\n', &line))
		add_line(&params, line);
	request_init(&r);
	MUST(request_read(&r, &params, &rules) == ST_OK);
	check(&r);
	/* Once more into the same object: the same answer. */
	MUST(request_read(&r, &params, &rules) == ST_OK);
	check(&r);
	request_fini(&r);
	params_fini(&params);
	return 0;
}
