/* SPDX-License-Identifier: MIT */
/*
 * Bytes that belong to somebody else: pointer and length, may contain NUL,
 * not terminated.  A span is valid as long as its owner says.
 */
#ifndef WALCAST_SPAN_H
#define WALCAST_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *p; /* may be NULL when len is 0 */
	size_t len;    /* bytes */
};

#define SPAN(literal) ((struct span){("" literal), sizeof(literal) - 1})
#define SPAN_NONE     ((struct span){NULL, 0})

static inline struct span
span_of(const char *p, size_t len)
{
	return (struct span){p, len};
}

/* The span of a C string; NULL gives SPAN_NONE. */
static inline struct span
span_str(const char *s)
{
	return (struct span){s, s == NULL ? 0 : strlen(s)};
}

static inline bool
span_eq(struct span a, struct span b)
{
	return a.len == b.len &&
	    (a.p == NULL || b.p == NULL || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
span_starts(struct span s, struct span prefix)
{
	return s.len >= prefix.len &&
	    (prefix.len == 0 ||
		(s.p != NULL && memcmp(s.p, prefix.p, prefix.len) == 0));
}

/* Without its first n bytes; n <= s.len. */
static inline struct span
span_skip(struct span s, size_t n)
{
	return (struct span){s.p + n, s.len - n};
}

/* The first `byte` in s, or NULL. */
static inline const char *
span_find(struct span s, char byte)
{
	return s.p == NULL ? NULL : memchr(s.p, byte, s.len);
}

/*
 * Cuts the part before the first `sep` off the front of *rest.  Returns false
 * when nothing is left; a trailing separator gives one empty last part.
 */
bool span_cut(struct span *rest, char sep, struct span *part);

/* Without spaces and tabs at both ends. */
struct span span_trim(struct span s);

/* ASCII case-insensitive equality. */
bool span_caseeq(struct span a, struct span b);

/*
 * An unsigned decimal without sign, space or leading '+', at most INT64_MAX.
 * Returns false on anything else, the empty span included.
 */
bool span_to_int64(struct span s, int64_t *out);

#endif
