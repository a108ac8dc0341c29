/* SPDX-License-Identifier: MIT */
/* Sets that are asked for every event: against the simple way. */
#include "nameset.h"

#include "random.h"
#include "unit.h"

#define ALPHABET "ab."

static size_t
some_name(uint64_t *random, char *out)
{
	size_t i, n = random_next(random) % 5;

	for (i = 0; i < n; i++)
		out[i] = ALPHABET[random_next(random) % 3];
	return n;
}

/* Sorted, no two equal. */
static size_t
some_set(uint64_t *random, char text[][8], struct span *name)
{
	size_t i, kept = 0, n = random_next(random) % (NAMESET_MAX + 1);

	for (i = 0; i < n; i++)
		name[i] = span_of(text[i], some_name(random, text[i]));
	qsort(name, n, sizeof(*name), nameset_compare);
	for (i = 0; i < n; i++)
		if (kept == 0 || !span_eq(name[kept - 1], name[i]))
			name[kept++] = name[i];
	return kept;
}

static void
it_answers_as_asking_each_one_would(void **state)
{
	static char text[NAMESET_MAX][8];
	struct span name[NAMESET_MAX], prefix[NAMESET_MAX];
	uint64_t random = 7;
	int round, k;

	(void)state;
	for (round = 0; round < 2000; round++) {
		size_t i, n = some_set(&random, text, name), n_prefixes;
		struct nameset set;

		memcpy(prefix, name, sizeof(prefix));
		n_prefixes = nameset_reduce(prefix, n);
		assert_true(n_prefixes <= n);
		nameset_init(&set, name, n);
		for (k = 0; k < 50; k++) {
			char asked[8];
			struct span s = span_of(asked,
			    some_name(&random, asked));
			bool has = false, begins = false;

			for (i = 0; i < n; i++) {
				has |= span_eq(name[i], s);
				begins |= span_starts(s, name[i]);
			}
			assert_int_equal(nameset_has(&set, s), has);
			assert_int_equal(nameset_begins(prefix, n_prefixes, s),
			    begins);
		}
	}
}

static void
the_empty_prefix_is_all_there_is_to_say(void **state)
{
	struct span prefix[] = {SPAN(""), SPAN("a"), SPAN("b")};

	(void)state;
	assert_int_equal(nameset_reduce(prefix, 3), 1);
	assert_true(nameset_begins(prefix, 1, SPAN("z")));
	assert_false(nameset_begins(prefix, 0, SPAN("z")));
}

static void
as_many_as_are_allowed_are_told_apart(void **state)
{
	char text[NAMESET_MAX + 1][16];
	struct span name[NAMESET_MAX];
	struct nameset set;
	int i;

	(void)state;
	for (i = 0; i <= NAMESET_MAX; i++)
		(void)snprintf(text[i], sizeof(text[i]), "n%03d", i);
	for (i = 0; i < NAMESET_MAX; i++)
		name[i] = span_str(text[i]);
	nameset_init(&set, name, NAMESET_MAX);
	for (i = 0; i < NAMESET_MAX; i++)
		assert_true(nameset_has(&set, name[i]));
	assert_false(nameset_has(&set, span_str(text[NAMESET_MAX])));
	assert_false(nameset_has(&set, SPAN("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_answers_as_asking_each_one_would),
	    cmocka_unit_test(the_empty_prefix_is_all_there_is_to_say),
	    cmocka_unit_test(as_many_as_are_allowed_are_told_apart),
	};

	return RUN(tests);
}
