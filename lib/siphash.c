/* SPDX-License-Identifier: MIT */
/* The names v0..v3 and m are those of the paper, section 2. */
#include "siphash.h"

struct state {
	uint64_t v0, v1, v2, v3;
};

/* n bytes, at most 8, the first one the least. */
static uint64_t
little_endian(const unsigned char *p, size_t n)
{
	uint64_t m = 0;

	while (n-- > 0)
		m = m << 8 | p[n];
	return m;
}

static uint64_t
rotl(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(struct state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static void
take_word(struct state *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

uint64_t
siphash(const struct siphash_key *key, const void *p, size_t n)
{
	const uint64_t k0 = little_endian(key->b, 8);
	const uint64_t k1 = little_endian(key->b + 8, 8);
	/* "somepseudorandomlygeneratedbytes" */
	struct state s = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
	    k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
	const unsigned char *at = p;
	size_t left = n;

	for (; left >= 8; left -= 8, at += 8)
		take_word(&s, little_endian(at, 8));
	take_word(&s, (uint64_t)n << 56 | little_endian(at, left));
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
