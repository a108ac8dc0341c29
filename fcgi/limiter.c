/* SPDX-License-Identifier: MIT */
/*
 * Token buckets in a set-associative table.  A bucket is one number, the time
 * at which it is full again (as in GCRA, ITU-T I.371): each token taken moves
 * it on by what a token takes to fill.  An unused entry is a full bucket.
 */
#include "limiter.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define MINUTE_US 60000000u
#define WAYS      8
#define SETS      (LIMITER_ENTRIES / WAYS)

struct bucket {
	uint64_t key;
	uint64_t full_us;
};

struct limiter {
	uint64_t seed;
	struct bucket set[SETS][WAYS];
};

enum status
limiter_new(struct limiter **out, uint64_t seed)
{
	struct limiter *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return ST_NOMEM;
	l->seed = seed;
	*out = l;
	return ST_OK;
}

void
limiter_free(struct limiter **l)
{
	free(*l);
	*l = NULL;
}

static uint64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/*
 * ::ffff:a.b.c.d is a.b.c.d.  As a /64, 0:ffff:a.b:c.d is of the range that
 * is reserved (RFC 4291), so IPv4 has it.  What is no address shares 0 with
 * ::1.
 */
static uint64_t
key_of(struct span address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint64_t v4 = UINT64_C(0xffff) << 32;
	char text[INET6_ADDRSTRLEN];
	const char *zone = span_find(address, '%');
	size_t len = zone == NULL ? address.len : (size_t)(zone - address.p);
	unsigned char b[16];

	if (len >= sizeof(text))
		return 0;
	if (len > 0)
		memcpy(text, address.p, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, b) == 1)
		return v4 | big_endian(b, 4);
	if (inet_pton(AF_INET6, text, b) != 1)
		return 0;
	if (memcmp(b, mapped, sizeof(mapped)) == 0)
		return v4 | big_endian(b + sizeof(mapped), 4);
	return big_endian(b, 8);
}

/* Which set is a keyed hash of the address: twice splitmix64. */
static struct bucket *
set_of(struct limiter *l, uint64_t key)
{
	uint64_t h = l->seed;

	h = random_next(&h) ^ key;
	return l->set[random_next(&h) % SETS];
}

/* The bucket of the key, made out of another one if it has none. */
static struct bucket *
find(struct limiter *l, uint64_t key)
{
	struct bucket *set = set_of(l, key), *fullest = set;
	int i;

	for (i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].full_us < fullest->full_us)
			fullest = &set[i];
	}
	*fullest = (struct bucket){.key = key};
	return fullest;
}

bool
limiter_take(struct limiter *l, struct span address, int64_t per_minute,
    uint64_t now_us, int *retry_after_s)
{
	struct bucket *b;
	uint64_t token_us, full_us;

	if (per_minute <= 0)
		return true;
	b = find(l, key_of(address));
	token_us = MINUTE_US / (uint64_t)per_minute;
	full_us = (b->full_us > now_us ? b->full_us : now_us) + token_us;
	if (full_us - now_us > MINUTE_US) {
		uint64_t wait_us = full_us - now_us - MINUTE_US;

		*retry_after_s = (int)((wait_us + 999999) / 1000000);
		return false;
	}
	b->full_us = full_us;
	return true;
}
