/* SPDX-License-Identifier: MIT */
/* The vectors of the paper's appendix A and of its reference programs. */
#include "siphash.h"

#include "hashtable.h"
#include "unit.h"

static struct siphash_key
counting_key(void)
{
	struct siphash_key key;
	int i;

	for (i = 0; i < SIPHASH_KEY_BYTES; i++)
		key.b[i] = (unsigned char)i;
	return key;
}

static void
it_gives_the_published_vectors(void **state)
{
	static const struct {
		size_t n;
		uint64_t h;
	} vectors[] = {
	    {0, 0x726fdb47dd0e0e31u},
	    {1, 0x74f839c593dc67fdu},
	    {2, 0x0d6c8009d9a94f5au},
	    {3, 0x85676696d7fb7e2du},
	    {4, 0xcf2794e0277187b7u},
	    {5, 0x18765564cd99a68du},
	    {6, 0xcbc9466e58fee3ceu},
	    {7, 0xab0200f58b01d137u},
	    {8, 0x93f5f5799a932462u},
	    {15, 0xa129ca6149be45e5u},
	};
	struct siphash_key key = counting_key();
	unsigned char in[16];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_true(siphash(&key, in, vectors[i].n) == vectors[i].h);
	assert_true(siphash(&key, NULL, 0) == vectors[0].h);
}

static void
another_key_gives_another_hash(void **state)
{
	struct siphash_key a = counting_key(), b = a;

	(void)state;
	b.b[15] ^= 1;
	assert_true(siphash(&a, "name", 4) != siphash(&b, "name", 4));
}

/* What makes uthash's own hash meet does not make this one meet. */
static void
tables_hash_under_a_key_of_their_process(void **state)
{
	static const struct siphash_key zero;
	unsigned out = 0;

	(void)state;
	assert_true(hashtable_hash("a", 1) == hashtable_hash("a", 1));
	assert_true(hashtable_hash("a", 1) != hashtable_hash("b", 1));
	assert_true(hashtable_hash("a", 1) != siphash(&zero, "a", 1));
	HASH_FUNCTION("a", 1, out);
	assert_int_equal(out, (unsigned)hashtable_hash("a", 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_gives_the_published_vectors),
	    cmocka_unit_test(another_key_gives_another_hash),
	    cmocka_unit_test(tables_hash_under_a_key_of_their_process),
	};

	return RUN(tests);
}
