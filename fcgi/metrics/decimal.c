/* SPDX-License-Identifier: MIT */
/* Metrics as decimal numbers.  Pure. */
#include "decimal.h"

#include <assert.h>

void
decimal_put(struct buf *out, int64_t number, int64_t per)
{
	int64_t ten = 1, rest;
	int digits = 0;

	assert(number >= 0 && per > 0);
	while (ten % per != 0) {
		ten *= 10;
		digits++;
		assert(digits <= 6);
	}
	rest = number % per * (ten / per);
	if (digits == 0)
		buf_add_int64(out, number / per);
	else
		buf_addf(out, "%lld.%0*lld", (long long)(number / per), digits,
		    (long long)rest);
}

void
decimal_put_double(struct buf *out, double v)
{
	buf_addf(out, "%.9g", v);
}
