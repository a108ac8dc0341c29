/* SPDX-License-Identifier: MIT */
#include "utf8.h"

#include "unit.h"

/* Every sequence of two and three bytes, against the ranges of RFC 3629. */
static void
utf8_is_told_by_its_code_points(void **state)
{
	unsigned char b[3];
	unsigned v;

	(void)state;
	for (v = 0; v < 1u << 24; v++) {
		bool ok;

		b[0] = (unsigned char)(v >> 16);
		b[1] = (unsigned char)(v >> 8);
		b[2] = (unsigned char)v;
		if (b[0] < 0xe0 || b[0] > 0xef)
			continue;
		ok = (b[1] & 0xc0) == 0x80 && (b[2] & 0xc0) == 0x80;
		if (ok) {
			unsigned cp = (b[0] & 0xfu) << 12 |
			    (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);

			ok = cp >= 0x800 && (cp < 0xd800 || cp > 0xdfff);
		}
		assert_int_equal(utf8_ok(span_of((char *)b, 3)), ok);
	}
	for (v = 0; v < 1u << 16; v++) {
		b[0] = (unsigned char)(v >> 8);
		b[1] = (unsigned char)v;
		assert_int_equal(utf8_ok(span_of((char *)b, 2)),
		    (b[0] < 0x80 && b[1] < 0x80) ||
			(b[0] >= 0xc2 && b[0] <= 0xdf &&
			    (b[1] & 0xc0) == 0x80));
	}
}

static void
utf8_of_four_bytes_ends_at_u10ffff(void **state)
{
	(void)state;
	assert_true(utf8_ok(SPAN("\xf0\x90\x80\x80")));
	assert_false(utf8_ok(SPAN("\xf0\x8f\xbf\xbf")));
	assert_true(utf8_ok(SPAN("\xf4\x8f\xbf\xbf")));
	assert_false(utf8_ok(SPAN("\xf4\x90\x80\x80")));
	assert_false(utf8_ok(SPAN("\xf5\x80\x80\x80")));
	assert_false(utf8_ok(SPAN("\xf0\x90\x80")));
	assert_false(utf8_ok(SPAN("\xf0\x90\x80"
				  "a")));
	assert_true(utf8_ok(SPAN("")));
	assert_true(utf8_ok(SPAN_NONE));
	assert_true(utf8_ok(SPAN("a\0b")));
}

/* Unicode Standard, section 3.9, tables 3-8 to 3-11; "?" is one U+FFFD. */
static void
each_maximal_subpart_is_one_replacement(void **state)
{
	static const struct {
		struct span text;
		const char *want;
	} rows[] = {
	    {SPAN("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82"
		  "A"),
		"????????A"},
	    {SPAN("\xed\xa0\x80\xed\xbf\xbf\xed\xaf"
		  "A"),
		"????????A"},
	    {SPAN("\xf4\x91\x92\x93\xff"
		  "A\x80\xbf"
		  "B"),
		"?????A??B"},
	    {SPAN("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
		  "A"),
		"????A"},
	    {SPAN("caf\xe9"), "caf?"},
	    {SPAN("caf\xe9 "), "caf? "},
	    {SPAN("\xf0\x9f\x98"), "?"},
	    {SPAN("\xf0\x9f\x98\xf0\x9f"), "??"},
	    {SPAN("\xc3"), "?"},
	    {SPAN("\xfe\xff"), "??"},
	    {SPAN(""), ""},
	};
	size_t i, n, at;
	char got[16];

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (n = at = 0; at < rows[i].text.len; n++) {
			struct span s = span_skip(rows[i].text, at);
			size_t good = utf8_sequence(s);

			got[n] = good > 0 ? s.p[0] : '?';
			at += good > 0 ? good : utf8_bad(s);
		}
		assert_span(span_of(got, n), span_str(rows[i].want));
	}
}

static void
a_run_ends_at_what_is_bad_and_never_inside_a_character(void **state)
{
	static const char text[] = "0123456789abcdef\xc3\xa9\xe9xyz";
	struct span s = span_of(text, sizeof(text) - 1);
	size_t n;

	(void)state;
	for (n = 0; n <= 16; n++)
		assert_int_equal(utf8_run(s, n), n);
	for (; n <= s.len; n++)
		assert_int_equal(utf8_run(s, n), 18);
	assert_int_equal(utf8_run(SPAN_NONE, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(utf8_is_told_by_its_code_points),
	    cmocka_unit_test(utf8_of_four_bytes_ends_at_u10ffff),
	    cmocka_unit_test(each_maximal_subpart_is_one_replacement),
	    cmocka_unit_test(
		a_run_ends_at_what_is_bad_and_never_inside_a_character),
	};

	return RUN(tests);
}
