/* SPDX-License-Identifier: MIT */
/* Events counted by channel: only those that were named, and never back. */
#include "counted.h"

#include "unit.h"

static struct counted k;

static int
setup(void **state)
{
	(void)state;
	memset(&k, 0, sizeof(k));
	return 0;
}

static void
assert_written(const char *members)
{
	struct buf out;

	buf_init(&out, 1 << 16);
	assert_status(buf_append(&out, SPAN("{")), ST_OK);
	assert_status(counted_write(&k, &out), ST_OK);
	assert_span(span_skip(buf_span(&out), 1), span_str(members));
	buf_fini(&out);
}

static void
only_channels_that_were_named_are_counted(void **state)
{
	(void)state;
	counted_add(&k, SPAN("orders"));
	assert_written("");
	assert_status(counted_name(&k, SPAN("orders, a:b")), ST_OK);
	assert_written("\"channel:orders\":0,\"channel:a:b\":0");
	counted_add(&k, SPAN("orders"));
	counted_add(&k, SPAN("orders"));
	counted_add(&k, SPAN("order"));
	counted_add(&k, SPAN("orders2"));
	counted_add(&k, SPAN("a:b"));
	assert_written("\"channel:orders\":2,\"channel:a:b\":1");
}

static void
what_is_no_channel_is_passed_over(void **state)
{
	(void)state;
	assert_status(counted_name(&k, SPAN(",, a\"b ,c,")), ST_OK);
	assert_written("\"channel:c\":0");
}

static void
a_channel_that_is_named_no_more_keeps_its_count(void **state)
{
	(void)state;
	assert_status(counted_name(&k, SPAN("a,b")), ST_OK);
	counted_add(&k, SPAN("a"));
	assert_status(counted_name(&k, SPAN("b")), ST_OK);
	counted_add(&k, SPAN("a"));
	counted_add(&k, SPAN("b"));
	assert_written("\"channel:a\":1,\"channel:b\":1");
	assert_status(counted_name(&k, SPAN("a")), ST_OK);
	counted_add(&k, SPAN("a"));
	assert_written("\"channel:a\":2,\"channel:b\":1");
}

static void
there_is_a_bound(void **state)
{
	char name[16];
	int i;

	(void)state;
	for (i = 0; i < COUNTED_MAX; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		assert_status(counted_name(&k, span_str(name)), ST_OK);
	}
	assert_status(counted_name(&k, SPAN("one.more")), ST_FULL);
	counted_add(&k, SPAN("one.more"));
	assert_int_equal(k.n, COUNTED_MAX);
	assert_status(counted_name(&k, SPAN("c7")), ST_OK);
}

static void
what_follows_other_members_begins_with_a_comma(void **state)
{
	struct buf out;

	(void)state;
	assert_status(counted_name(&k, SPAN("a")), ST_OK);
	buf_init(&out, 100);
	assert_status(buf_append(&out, SPAN("{\"commits\":1")), ST_OK);
	assert_status(counted_write(&k, &out), ST_OK);
	assert_span(buf_span(&out), SPAN("{\"commits\":1,\"channel:a\":0"));
	buf_fini(&out);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
	    T(only_channels_that_were_named_are_counted),
	    T(what_is_no_channel_is_passed_over),
	    T(a_channel_that_is_named_no_more_keeps_its_count),
	    T(there_is_a_bound),
	    T(what_follows_other_members_begins_with_a_comma),
	};

	return RUN(tests);
}
