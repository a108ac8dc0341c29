/* SPDX-License-Identifier: MIT */
/* Well-formed and ill-formed UTF-8.  Pure. */
#include "utf8.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

/*
 * What the first byte says: how many follow, and the bounds of the second
 * (RFC 3629 section 4).  False for a byte that begins nothing.
 */
static bool
announced(unsigned char first, size_t *more, unsigned char *lo,
    unsigned char *hi)
{
	*lo = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	*hi = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	*more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
	return first >= 0xc2 && first <= 0xf4;
}

/* The bytes at the front that are, or begin, one sequence; at least one. */
static size_t
subpart(struct span s, bool *whole)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char lo, hi;
	size_t more, n = 1;

	*whole = p[0] < 0x80;
	if (*whole || !announced(p[0], &more, &lo, &hi))
		return 1;
	while (n <= more && n < s.len && p[n] >= lo && p[n] <= hi) {
		n++;
		lo = 0x80;
		hi = 0xbf;
	}
	*whole = n > more;
	return n;
}

size_t
utf8_sequence(struct span s)
{
	bool whole = false;
	size_t n = s.len == 0 ? 0 : subpart(s, &whole);

	return whole ? n : 0;
}

size_t
utf8_decode(struct span s, unsigned *code)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i, n = utf8_sequence(s);

	*code = n < 2 ? p[0] : p[0] & (0xffu >> (n + 1));
	for (i = 1; i < n; i++)
		*code = *code << 6 | (p[i] & 0x3fu);
	return n;
}

bool
utf8_is_hidden(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c ||
	    code == 0x200e || code == 0x200f ||
	    (code >= 0x202a && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069);
}

size_t
utf8_bad(struct span s)
{
	bool whole;

	return subpart(s, &whole);
}

/* Behind the ASCII from `at` on. */
static size_t
past_ascii(struct span s, size_t at)
{
	uint64_t word;

	while (s.len - at >= sizeof(word)) {
		memcpy(&word, s.p + at, sizeof(word));
		if ((word & HIGH_BITS) != 0)
			break;
		at += sizeof(word);
	}
	while (at < s.len && (unsigned char)s.p[at] < 0x80)
		at++;
	return at;
}

static bool
continues(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* utf8_sequence, with a fast path for the sequences that are most common. */
static inline size_t
sequence(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	if (s.len >= 3 && p[0] > 0xe0 && p[0] < 0xf0 && p[0] != 0xed &&
	    continues(p[1]) && continues(p[2]))
		return 3;
	if (s.len >= 2 && p[0] >= 0xc2 && p[0] < 0xe0 && continues(p[1]))
		return 2;
	return utf8_sequence(s);
}

size_t
utf8_run(struct span s, size_t n)
{
	size_t at = 0, more = 1;

	while (at < n && more > 0) {
		if ((unsigned char)s.p[at] < 0x80) {
			at = past_ascii(span_of(s.p, n), at);
			continue;
		}
		more = sequence(span_skip(s, at));
		at += more;
	}
	return at;
}

bool
utf8_ok(struct span s)
{
	return utf8_run(s, s.len) == s.len;
}
