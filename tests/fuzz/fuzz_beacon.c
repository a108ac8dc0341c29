/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a beacon: nothing is read past them, what is taken is within
 * its bounds and what json-c reads too, and each of them moves one counter of
 * results by one, and others only if it was accepted.
 */
#include "beacon.h"

#include <string.h>

#include "beacons.h"
#include "fuzz.h"
#include "json.h"

static void
check_bounds(const struct beacon *b)
{
	size_t i;

	MUST(b->n_lags <= BEACON_MAX_LAGS);
	for (i = 0; i < b->n_lags; i++)
		MUST(b->lag_us[i] <= UINT64_C(1000) * BEACON_MAX_MS);
	MUST(b->has_first_event || b->first_event_us == 0);
	MUST(b->first_event_us <= UINT64_C(1000) * BEACON_MAX_MS);
	MUST(b->reconnects <= BEACON_MAX_COUNT && b->gaps <= BEACON_MAX_COUNT);
	MUST(b->duplicates <= BEACON_MAX_COUNT);
	MUST(b->missing <= BEACON_MAX_COUNT);
	MUST(b->fallback < BEACON_FALLBACKS);
}

/* json-c decodes names with escapes, which are no names here. */
static void
check_against_json(struct span text, const struct beacon *b)
{
	static struct json_parser *parser;
	const struct json *member;
	struct json *root = NULL;
	struct errmsg err;
	int64_t n;

	if (parser == NULL)
		MUST(json_parser_new(&parser) == ST_OK);
	MUST(json_parse(parser, text, &root, &err) == ST_OK);
	MUST(json_type(root) == JSON_OBJECT);
	member = json_get(root, "gaps");
	if (span_find(text, '\\') == NULL && member != NULL &&
	    json_int(member, &n))
		MUST(n >= 0 && (uint64_t)n == b->gaps);
	json_free(&root);
}

/* White space behind it changes nothing. */
static void
check_with_space(struct span text, const struct beacon *b)
{
	char padded[BEACON_MAX_BYTES];
	struct beacon again;

	if (text.len == BEACON_MAX_BYTES)
		return;
	memcpy(padded, text.p, text.len);
	padded[text.len] = '\n';
	MUST(beacon_parse(span_of(padded, text.len + 1), &again) == ST_OK);
	MUST(again.n_lags == b->n_lags && again.gaps == b->gaps);
	MUST(again.first_event_us == b->first_event_us);
	MUST(again.buffered == b->buffered && again.fallback == b->fallback);
}

static void
count(struct span text, enum status parsed)
{
	static struct beacons *beacons;
	static struct conf conf;
	struct beacon_counters before;
	struct params p;
	struct buf out;
	enum beacon_result want = parsed == ST_OK ? BEACON_ACCEPTED
	    : parsed == ST_TOOLARGE               ? BEACON_TOO_LARGE
						  : BEACON_MALFORMED;

	if (beacons == NULL) {
		MUST(beacons_new(&beacons, 1) == ST_OK);
		conf_defaults(&conf);
		conf.beacon = CONF_ON;
		conf.beacon_rate = 0;
	}
	params_init(&p);
	params_keep_body(&p, BEACONS_BODY_BYTES);
	buf_init(&out, 1 << 16);
	MUST(params_add(&p, SPAN("REQUEST_METHOD=POST")) == ST_OK);
	MUST(params_add(&p, SPAN("CONTENT_TYPE=text/plain")) == ST_OK);
	MUST(params_add(&p, SPAN("HTTP_SEC_FETCH_SITE=same-origin")) == ST_OK);
	MUST(params_add_body(&p, text) == ST_OK);
	before = *beacons_counters(beacons);
	MUST(beacons_answer(beacons, &p, &conf, 1, &out) == ST_OK);
	before.n[want]++;
	if (want == BEACON_ACCEPTED)
		MUST(memcmp(before.n, beacons_counters(beacons)->n,
			 sizeof(before.n)) == 0);
	else
		MUST(memcmp(&before, beacons_counters(beacons),
			 sizeof(before)) == 0);
	params_fini(&p);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_span(data, size);
	struct beacon b;
	enum status st = beacon_parse(text, &b);

	MUST(st == ST_OK || st == ST_INVALID || st == ST_TOOLARGE);
	MUST((st == ST_TOOLARGE) == (size > BEACON_MAX_BYTES));
	if (st == ST_OK) {
		check_bounds(&b);
		check_against_json(text, &b);
		check_with_space(text, &b);
	}
	count(text, st);
	return 0;
}
