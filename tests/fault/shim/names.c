/* SPDX-License-Identifier: MIT */
/*
 * Channel names that fall into one bucket of a hash table whose function is
 * Bob Jenkins's of 1996 without a seed, as uthash's is: what a hostile client
 * would ask for.  Not a shim: called by a scenario.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NAME_LEN 16 /* with its NUL 17 */
#define EXPORT   __attribute__((visibility("default")))

static void
mix(uint32_t *a, uint32_t *b, uint32_t *c)
{
	*a = (*a - *b - *c) ^ (*c >> 13);
	*b = (*b - *c - *a) ^ (*a << 8);
	*c = (*c - *a - *b) ^ (*b >> 13);
	*a = (*a - *b - *c) ^ (*c >> 12);
	*b = (*b - *c - *a) ^ (*a << 16);
	*c = (*c - *a - *b) ^ (*b >> 5);
	*a = (*a - *b - *c) ^ (*c >> 3);
	*b = (*b - *c - *a) ^ (*a << 10);
	*c = (*c - *a - *b) ^ (*b >> 15);
}

static uint32_t
word(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 |
	    (uint32_t)u[3] << 24;
}

static uint32_t
jenkins(const char *name)
{
	uint32_t a = 0x9e3779b9u, b = 0x9e3779b9u, c = 0xfeedbeefu;

	a += word(name);
	b += word(name + 4);
	c += word(name + 8);
	mix(&a, &b, &c);
	c += NAME_LEN;
	a += word(name + 12);
	mix(&a, &b, &c);
	return c;
}

/*
 * Writes n names of NAME_LEN bytes, each followed by a line feed, whose hashes
 * have their low `bits` (1 to 16) zero.  to has room for n * 17 bytes.
 */
EXPORT void names_colliding(unsigned bits, size_t n, char *to);

EXPORT void
names_colliding(unsigned bits, size_t n, char *to)
{
	char name[NAME_LEN];
	uint32_t mask = ((uint32_t)1 << bits) - 1;

	memcpy(name, "c000000000000000", NAME_LEN);
	for (uint64_t serial = 0; n > 0; serial++) {
		for (unsigned i = 0; i < 12; i++)
			name[NAME_LEN - 1 - i] = (char)('a' +
			    (int)(serial >> (4 * i) & 15));
		if ((jenkins(name) & mask) != 0)
			continue;
		memcpy(to, name, NAME_LEN);
		to[NAME_LEN] = '\n';
		to += NAME_LEN + 1;
		n--;
	}
}
