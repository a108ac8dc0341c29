/* SPDX-License-Identifier: MIT */
/*
 * Token buckets in a set-associative table.  A bucket is one number, the time
 * at which it is full again (as in GCRA, ITU-T I.371): each token taken moves
 * it on by what a token takes to fill.  An unused entry is a full bucket.
 */
#include "limiter.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "random.h"
#include "siphash.h"

#define MINUTE_US 60000000u
#define WAYS      8
#define SETS      (LIMITER_ENTRIES / WAYS)

struct bucket {
	uint64_t key;
	uint64_t full_us;
};

struct limiter {
	struct siphash_key key;
	struct bucket set[SETS][WAYS];
};

enum status
limiter_new(struct limiter **out, uint64_t seed)
{
	struct limiter *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return ST_NOMEM;
	memcpy(l->key.b, &seed, sizeof(seed));
	seed = random_next(&seed);
	memcpy(l->key.b + sizeof(seed), &seed, sizeof(seed));
	*out = l;
	return ST_OK;
}

void
limiter_free(struct limiter **l)
{
	free(*l);
	*l = NULL;
}

/* Which set is a keyed hash of the address. */
static struct bucket *
set_of(struct limiter *l, uint64_t key)
{
	return l->set[siphash(&l->key, &key, sizeof(key)) % SETS];
}

/* The bucket of the key, made out of another one if it has none. */
static struct bucket *
limiter_find(struct limiter *l, uint64_t key)
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
	b = limiter_find(l, address_key(address));
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
