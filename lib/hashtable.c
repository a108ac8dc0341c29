/* SPDX-License-Identifier: MIT */
/* Owns the key, which is drawn at its first use and never leaves this file. */
#include "hashtable.h"

#include <stdbool.h>

#include "random.h"
#include "siphash.h"

uint64_t
hashtable_hash(const void *p, size_t n)
{
	static struct siphash_key key;
	static bool drawn;

	if (!drawn) {
		random_bytes(key.b, sizeof(key.b));
		drawn = true;
	}
	return siphash(&key, p, n);
}
