/* SPDX-License-Identifier: MIT */
/*
 * Any bytes from an application: how they arrive in pieces does not change what
 * they say, nothing is kept past its bound, and an answer that is read names
 * only what can be a channel or a user.  The first byte says where to cut.
 */
#include "app_answer.h"

#include "app_request.h"
#include "fuzz.h"
#include "name.h"

static enum status
take(struct app_response *r, struct span s, size_t piece)
{
	enum status st = ST_OK;

	app_response_init(r);
	while (st == ST_OK && s.len > 0) {
		size_t n = s.len < piece ? s.len : piece;

		st = app_response_take(r, span_of(s.p, n));
		s = span_skip(s, n);
		MUST(r->head.len <= APP_HEAD_MAX);
	}
	return st;
}

static void
check_answer(struct span head)
{
	static struct app_answer a;
	size_t i;

	if (app_answer_read(head, &a) != ST_OK)
		return;
	MUST(a.status >= 100 && a.status <= 999);
	MUST(a.max_age_s >= -1 && a.max_age_s <= 86400);
	MUST(a.user.len <= APP_USER_MAX && !name_has_control(a.user));
	MUST(a.n_channels <= APP_CHANNELS_MAX);
	for (i = 0; i < a.n_channels; i++)
		MUST(name_pattern_ok(a.channel[i]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct app_response whole, cut;
	enum status st;
	struct span s;

	if (size == 0)
		return 0;
	s = fuzz_span(data + 1, size - 1);
	st = take(&whole, s, size);
	MUST(take(&cut, s, 1 + data[0]) == st);
	if (st == ST_OK || st == ST_END) {
		MUST(whole.head_whole == cut.head_whole);
		MUST(whole.n_body == cut.n_body);
		MUST(whole.n_stderr == cut.n_stderr);
		MUST(whole.app_status == cut.app_status);
		MUST(span_eq(buf_span(&whole.head), buf_span(&cut.head)));
		check_answer(buf_span(&whole.head));
	}
	check_answer(s); /* as a head, without records */
	app_response_fini(&whole);
	app_response_fini(&cut);
	return 0;
}
