/* SPDX-License-Identifier: MIT */
/* Figures as decimal numbers.  Pure. */
#include "decimal.h"

#include <assert.h>

enum status
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
	if (digits == 0)
		return buf_put_int64(out, number / per);
	rest = number % per * (ten / per);
	return buf_printf(out, "%lld.%0*lld", (long long)(number / per), digits,
	    (long long)rest);
}

enum status
decimal_put_double(struct buf *out, double v)
{
	return buf_printf(out, "%.9g", v);
}
