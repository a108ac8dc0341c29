/* SPDX-License-Identifier: MIT */
#include "backoff.h"

#include <assert.h>

uint64_t
backoff_next_us(struct backoff *b)
{
	assert(b->min_us > 0 && b->min_us <= b->max_us);
	if (b->wait_us == 0)
		b->wait_us = b->min_us;
	else if (b->wait_us > b->max_us / 2)
		b->wait_us = b->max_us;
	else
		b->wait_us *= 2;
	return b->wait_us;
}

void
backoff_reset(struct backoff *b)
{
	b->wait_us = 0;
}
