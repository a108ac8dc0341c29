/* SPDX-License-Identifier: MIT */
/*
 * splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
 * Generators, 2014), seeded from the kernel.
 */
#include "random.h"

#include <errno.h>
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

void
random_bytes(void *out, size_t n)
{
	unsigned char *at = out;

	while (n > 0) {
		ssize_t got = getrandom(at, n,
		    0); /* waits in early boot only */

		if (got > 0) {
			at += got;
			n -= (size_t)got;
		} else if (errno != EINTR) {
			/* UNTESTED: a kernel without getrandom */
			*at++ = (unsigned char)(clock_mono_us() >> n % 8);
			n--;
		}
	}
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
