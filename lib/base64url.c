/* SPDX-License-Identifier: MIT */
/* base64url, decoded.  Pure. */
#include "base64url.h"

#include <stdint.h>

/* -1: no digit. */
static int
digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

enum status
base64url_decode(struct buf *out, struct span text)
{
	uint32_t bits = 0;
	int n_bits = 0;
	size_t i;
	enum status st = buf_reserve(out, text.len / 4 * 3 + 3);

	for (i = 0; st == ST_OK && i < text.len; i++) {
		int digit = digit_of(text.p[i]);

		if (digit < 0)
			return ST_INVALID;
		bits = (bits << 6 | (uint32_t)digit) & 0xffff;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			*buf_tail(out) = (char)(bits >> n_bits);
			buf_grew(out, 1);
		}
	}
	/* What is left over must be nothing: 6 bits alone are no byte. */
	if (st == ST_OK && (n_bits >= 6 || (bits & ((1u << n_bits) - 1)) != 0))
		return ST_INVALID;
	return st;
}
