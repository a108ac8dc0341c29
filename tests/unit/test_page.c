/* SPDX-License-Identifier: MIT */
/* The status page as a response. */
#include "page.h"

#include <string.h>

#include "fault.h"
#include "unit.h"

static const uint64_t nonce[2] = {0x1122334455667788, 0x99};

#define NONCE "11223344556677880000000000000099"

static size_t
count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text++;
		n++;
	}
	return n;
}

static void
the_nonce_is_in_the_policy_and_on_script_and_style(void **state)
{
	struct buf out;
	const char *text, *body;
	char length[64];

	(void)state;
	buf_init(&out, 1 << 20);
	assert_status(page_put(&out, nonce, false), ST_OK);
	assert_status(buf_append(&out, span_of("", 1)), ST_OK);
	text = buf_span(&out).p;
	body = strstr(text, "\r\n\r\n") + 4;
	assert_int_equal(strncmp(text, "Status: 200 OK\r\n", 16), 0);
	assert_int_equal(strncmp(body, "<!doctype html>\n", 16), 0);
	assert_non_null(strstr(text,
	    "default-src 'none'; script-src "
	    "'nonce-" NONCE "'; style-src "
	    "'nonce-" NONCE "'; "));
	assert_int_equal(count(body, "nonce=\"" NONCE "\""), 2);
	assert_int_equal(count(text, NONCE), 4);
	assert_int_equal(count(text, "@"),
	    count(body, "@media") + count(body, "@keyframes"));
	assert_int_equal(count(body, "</html>\n"), 1);
	(void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n",
	    strlen(body));
	assert_non_null(strstr(text, length));
	buf_fini(&out);
}

static void
for_head_there_is_no_body(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_status(page_put(&out, nonce, true), ST_OK);
	assert_span(span_skip(buf_span(&out), out.len - 4), SPAN("\r\n\r\n"));
	buf_fini(&out);
}

static void
without_memory_nothing_is_appended(void **state)
{
	struct buf out;
	enum status st;
	unsigned n = 0;

	(void)state;
	buf_init(&out, 1 << 20);
	do {
		buf_fini(&out);
		buf_init(&out, 1 << 20);
		fault_alloc_at(++n);
		st = page_put(&out, nonce, false);
		if (st != ST_OK) {
			assert_status(st, ST_NOMEM);
			assert_int_equal(out.len, 0);
		}
	} while (fault_hit());
	assert_true(n > 2);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		the_nonce_is_in_the_policy_and_on_script_and_style),
	    cmocka_unit_test(for_head_there_is_no_body),
	    cmocka_unit_test(without_memory_nothing_is_appended),
	};

	return RUN(tests);
}
