/* SPDX-License-Identifier: MIT */
/*
 * splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
 * Generators, 2014), seeded from the kernel.
 */
#include "random.h"

#include <sys/random.h>

#include "clock.h"

uint64_t
random_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) !=
	    (ssize_t)sizeof(seed))
		seed = clock_mono_us(); /* UNTESTED: early boot only */
	return seed;
}

uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
random_jitter(uint64_t *state, uint64_t base)
{
	uint64_t quarter = base / 4;

	return base - quarter + random_next(state) % (2 * quarter + 1);
}
