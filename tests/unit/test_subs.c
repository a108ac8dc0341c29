/* SPDX-License-Identifier: MIT */
/* Subscriptions: same wishes, one object; who wants an event is found. */
#include "subs.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "name.h"
#include "unit.h"

static int
setup(void **state)
{
	return subs_new((struct subs **)state) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct subs *s = *state;

	subs_free(&s);
	return 0;
}

static size_t
cut_list(const char *list, struct span *out)
{
	struct span rest = span_str(list);
	size_t n = 0;

	while (span_cut(&rest, ',', &out[n]))
		n++;
	return n;
}

static enum status
try_ref(struct subs *s, const char *channels, const char *events, bool envelope,
    struct sub **out)
{
	struct span channel[64], event[64];
	struct sub_spec spec = {channel, cut_list(channels, channel), event,
	    cut_list(events, event), envelope};

	return subs_ref(s, &spec, out);
}

static struct sub *
ref(struct subs *s, const char *channels, const char *events, bool envelope)
{
	struct sub *sub = NULL;

	assert_status(try_ref(s, channels, events, envelope, &sub), ST_OK);
	return sub;
}

struct found {
	struct sub *sub[8];
	size_t n;
};

static void
note(void *arg, struct sub *sub)
{
	struct found *f = arg;

	assert_true(f->n < 8);
	f->sub[f->n++] = sub;
}

static struct found
find(struct subs *s, const char *channel, const char *event)
{
	struct found f = {.n = 0};

	subs_find(s, span_str(channel), span_str(event), note, &f);
	return f;
}

static void
the_same_wishes_are_one_subscription(void **state)
{
	struct subs *s = *state;
	struct sub *a = ref(s, "x,y*,z", "p,q", false);
	struct sub *b = ref(s, "z,x,y*", "q,p", false);
	struct sub *c[6];
	uint64_t serial = a->serial;
	int i;

	assert_ptr_equal(a, b);
	assert_int_equal(subs_count(s), 1);
	c[0] = ref(s, "x,y*,z", "p,q", true);
	c[1] = ref(s, "x,y*,z", "p", false);
	c[2] = ref(s, "x,y*,z", NULL, false);
	c[3] = ref(s, "x,y*", "p,q", false);
	c[4] = ref(s, "x,y,z", "p,q", false);
	c[5] = ref(s, "x,y*,z,p", "q", false);
	assert_int_equal(subs_count(s), 7);
	assert_true(subs_envelopes(s));
	for (i = 0; i < 6; i++)
		subs_unref(s, &c[i]);
	assert_false(subs_envelopes(s));
	subs_unref(s, &a);
	assert_null(a);
	assert_int_equal(subs_count(s), 1);
	subs_unref(s, &b);
	assert_int_equal(subs_count(s), 0);
	a = ref(s, "x,y*,z", "p,q", false);
	assert_true(a->serial > serial);
	subs_unref(s, &a);
}

/* subs_find and subs_match have to agree, whatever the names. */
static void
finding_and_matching_agree(void **state)
{
	struct subs *s = *state;
	char longest[130], too_long[140];
	const char *const channel[] = {"", "a", "ab", "abc", "b", "a*", "*",
	    longest, too_long};
	const char *const wish[] = {"a", "a*", "*", "ab,abc", "abc*,b",
	    "a,a*,*,b"};
	const char *const event[] = {"", "e", "f"};
	struct sub *plain[6], *typed[6];
	size_t i, j, k, n;

	memset(longest, 'a', 128);
	longest[128] = '\0';
	memset(too_long, 'a', 139);
	too_long[139] = '\0';
	for (i = 0; i < 6; i++) {
		plain[i] = ref(s, wish[i], NULL, false);
		typed[i] = ref(s, wish[i], "e,g", false);
	}
	for (j = 0; j < 9; j++) {
		for (k = 0; k < 3; k++) {
			struct found f = {.n = 0};
			size_t want = 0;

			for (i = 0; i < 12; i++) {
				struct sub *sub = i < 6 ? plain[i]
							: typed[i - 6];

				want += subs_match(sub, span_str(channel[j]),
				    span_str(event[k]));
			}
			if (want > 8)
				continue;
			f = find(s, channel[j], event[k]);
			assert_int_equal(f.n, want);
			for (n = 0; n < f.n; n++)
				assert_true(subs_match(f.sub[n],
				    span_str(channel[j]), span_str(event[k])));
		}
	}
	for (i = 0; i < 6; i++) {
		subs_unref(s, &plain[i]);
		subs_unref(s, &typed[i]);
	}
	assert_int_equal(find(s, "a", "e").n, 0);
}

static void
a_prefix_of_the_longest_name_is_found(void **state)
{
	struct subs *s = *state;
	char wish[130], name[129];
	struct sub *sub, *all;

	memset(wish, 'a', 128);
	memcpy(wish + 128, "*", 2);
	memset(name, 'a', 128);
	name[128] = '\0';
	sub = ref(s, wish, NULL, false);
	all = ref(s, "*", NULL, false);
	assert_int_equal(find(s, name, "e").n, 2);
	assert_int_equal(find(s, name + 1, "e").n, 1);
	subs_unref(s, &sub);
	assert_int_equal(find(s, name, "e").n, 1);
	subs_unref(s, &all);
	assert_int_equal(find(s, name, "e").n, 0);
}

static void
sixty_four_channels_and_events_are_one_subscription(void **state)
{
	struct subs *s = *state;
	struct span channel[64], event[64];
	char text[64][NAME_MAX_BYTES];
	struct sub_spec spec = {channel, 64, event, 64, false};
	struct sub *sub = NULL;
	int i;

	for (i = 0; i < 64; i++) {
		memset(text[i], 'x', sizeof(text[i]));
		text[i][0] = (char)('0' + i);
		channel[i] = event[63 - i] = span_of(text[i], NAME_MAX_BYTES);
	}
	assert_status(subs_ref(s, &spec, &sub), ST_OK);
	for (i = 0; i < 64; i++)
		assert_true(subs_match(sub, channel[i], event[i]));
	assert_false(subs_match(sub, SPAN("x"), event[0]));
	assert_false(subs_match(sub, channel[0], SPAN("x")));
	subs_unref(s, &sub);
}

static void
a_refused_subscription_leaves_nothing(void **state)
{
	struct subs *s = *state;
	struct sub *keep = ref(s, "a,b*", NULL, false), *sub = NULL;
	unsigned n;

	for (n = 1;; n++) {
		enum status st;

		fault_alloc_at(n);
		st = try_ref(s, "a,b*,c,ddd*,e", "x", true, &sub);
		if (!fault_hit()) {
			assert_status(st, ST_OK);
			break;
		}
		if (st == ST_OK) { /* a table grew later */
			subs_unref(s, &sub);
			continue;
		}
		assert_status(st, ST_NOMEM);
		assert_int_equal(subs_count(s), 1);
		assert_false(subs_envelopes(s));
		assert_int_equal(find(s, "c", "x").n, 0);
		assert_int_equal(find(s, "a", "x").n, 1);
		assert_int_equal(find(s, "bb", "x").n, 1);
	}
	assert_true(n > 6);
	assert_int_equal(find(s, "dddd", "x").n, 1);
	subs_unref(s, &sub);
	subs_unref(s, &keep);
}

static void
thousands_of_them_are_found_and_forgotten(void **state)
{
	enum { MANY = 3000 };
	struct subs *s = *state;
	static struct sub *sub[MANY];
	char name[16];
	int i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		sub[i] = ref(s, name, NULL, false);
	}
	for (i = 0; i < MANY; i += 7) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(find(s, name, "e").n, 1);
		assert_ptr_equal(find(s, name, "e").sub[0], sub[i]);
	}
	for (i = 0; i < MANY; i++)
		subs_unref(s, &sub[i]);
	assert_int_equal(subs_count(s), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_same_wishes_are_one_subscription),
	    TEST(finding_and_matching_agree),
	    TEST(a_prefix_of_the_longest_name_is_found),
	    TEST(sixty_four_channels_and_events_are_one_subscription),
	    TEST(a_refused_subscription_leaves_nothing),
	    TEST(thousands_of_them_are_found_and_forgotten),
	};

	return RUN(tests);
}
