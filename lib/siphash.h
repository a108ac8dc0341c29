/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012): a
 * hash for which nobody can find collisions without knowing the key.  For every
 * table whose keys outsiders choose.  Pure.
 */
#ifndef WALCAST_SIPHASH_H
#define WALCAST_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16

struct siphash_key {
	unsigned char b[SIPHASH_KEY_BYTES];
};

/* p may be NULL when n is 0. */
uint64_t siphash(const struct siphash_key *key, const void *p, size_t n);

#endif
