/* SPDX-License-Identifier: MIT */
/* Revocations as an event's data, and as they are asked for. */
#include <string.h>

#include "revocation.h"
#include "revoke_line.h"
#include "unit.h"

static void
what_is_encoded_is_decoded(void **state)
{
	static const char *const values[] = {"alice", "a\"b\\c", "h\xc3\xa9",
	    "x"};
	int kind;
	size_t i;

	(void)state;
	for (kind = 0; kind < REVOKE_KIND_COUNT; kind++) {
		for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			struct revocation r = {
			    .kind = (enum revocation_kind)kind,
			    .value = span_str(values[i]),
			    .at_ms = INT64_C(1760000000123)};
			struct revocation got;
			struct buf b, text;

			buf_init(&b, 4096);
			buf_init(&text, REVOCATION_MAX_VALUE);
			assert_status(revocation_encode(&b, &r), ST_OK);
			assert_status(
			    revocation_decode(buf_span(&b), &text, &got),
			    ST_OK);
			assert_int_equal(got.kind, kind);
			assert_true(span_eq(got.value, r.value));
			assert_int_equal(got.at_ms, r.at_ms);
			buf_fini(&text);
			buf_fini(&b);
		}
	}
}

static void
what_is_none_is_invalid(void **state)
{
	static const char *const bad[] = {"", "{}", "[]", "7",
	    "{\"user\":\"a\"}", "{\"at_ms\":1}",
	    "{\"user\":\"a\",\"token\":\"b\",\"at_ms\":1}",
	    "{\"user\":7,\"at_ms\":1}", "{\"user\":\"\",\"at_ms\":1}",
	    "{\"user\":\"a\",\"at_ms\":\"1\"}", "{\"user\":\"a\",\"at_ms\":1"};
	struct revocation got;
	struct buf text;
	size_t i;

	(void)state;
	buf_init(&text, REVOCATION_MAX_VALUE);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_status(revocation_decode(span_str(bad[i]), &text, &got),
		    ST_INVALID);
	buf_fini(&text);
}

static void
a_stream_is_named_by_16_digits(void **state)
{
	uint64_t id = 0;

	(void)state;
	assert_true(revocation_stream(SPAN("00ff00000000000a"), &id));
	assert_true(id == UINT64_C(0x00ff00000000000a));
	assert_true(revocation_stream(SPAN("ffffffffffffffff"), &id));
	assert_true(id == UINT64_MAX);
	assert_false(revocation_stream(SPAN(""), &id));
	assert_false(revocation_stream(SPAN("00ff00000000000"), &id));
	assert_false(revocation_stream(SPAN("00ff00000000000a0"), &id));
	assert_false(revocation_stream(SPAN("00FF00000000000A"), &id));
	assert_false(revocation_stream(SPAN("00ff0000000000 a"), &id));
}

static enum status
line_read(const char *line, struct revocation *out, struct errmsg *err)
{
	struct values v;
	enum status st;

	assert_status(values_init(&v), ST_OK);
	assert_status(values_begin(&v, strlen(line)), ST_OK);
	st = revoke_line_read(&v, span_str(line), out, err);
	values_fini(&v);
	return st;
}

static void
a_line_names_one_thing(void **state)
{
	static const struct {
		const char *line, *error;
	} bad[] = {
	    {"{\"op\":\"revoke\"}", "name one of"},
	    {"{\"user\":\"a\",\"token\":\"b\"}", "name one of"},
	    {"{\"user\":7}", "must be a string"},
	    {"{\"user\":\"\"}", "1 to 256 bytes"},
	    {"{\"user\":\"a\tb\"}", "1 to 256 bytes"},
	    {"{\"stream\":\"12\"}", "16 hexadecimal"},
	    {"{\"token\":\"a\",\"until\":\"1\"}", "`until`"},
	    {"{\"token\":\"a\",\"until\":-1}", "`until`"},
	    {"{\"token\":\"a\",\"until\":1.5}", "`until`"},
	    {"{\"token\":\"a\",\"until\":253402300801}", "`until`"},
	};
	struct revocation r;
	struct errmsg err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_status(line_read(bad[i].line, &r, &err), ST_INVALID);
		if (strstr(err.text, bad[i].error) == NULL)
			print_error("%s: %s\n", bad[i].line, err.text);
		assert_non_null(strstr(err.text, bad[i].error));
	}
	assert_status(line_read("{\"token\":\"a\",\"until\":7}", &r, &err),
	    ST_OK);
	assert_int_equal(r.kind, REVOKE_TOKEN);
	assert_int_equal(r.until_ms, 7000);
	assert_status(line_read("{\"user\":\"a\"}", &r, &err), ST_OK);
	assert_int_equal(r.kind, REVOKE_USER);
	assert_int_equal(r.until_ms, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_encoded_is_decoded),
	    cmocka_unit_test(what_is_none_is_invalid),
	    cmocka_unit_test(a_stream_is_named_by_16_digits),
	    cmocka_unit_test(a_line_names_one_thing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
