/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 (RFC 3629: no surrogates, nothing overlong, up to U+10FFFF), and bytes
 * that are not: a program that writes to the log by SQL may store anything.
 * Ill-formed bytes go out as Unicode recommends and browsers do: each maximal
 * subpart of a sequence, else each byte, as one U+FFFD (Unicode Standard,
 * section 3.9; Encoding Standard, section 8.1.1).  Pure.
 */
#ifndef WALCAST_UTF8_H
#define WALCAST_UTF8_H

#include <stdbool.h>

#include "span.h"

#define UTF8_REPLACEMENT SPAN("\xef\xbf\xbd") /* U+FFFD */

/* The length of the well-formed sequence at the front of s, or 0. */
size_t utf8_sequence(struct span s);

/* The same, and the code point; s is not empty. */
size_t utf8_decode(struct span s, unsigned *code);

/*
 * Would a terminal obey this character instead of showing it?  True for C0,
 * DEL, C1, and for what changes the direction of text (UAX 9), with which text
 * could be made to read as something else.
 */
bool utf8_is_hidden(unsigned code);

/* How many bytes of s one U+FFFD stands for; s is not empty, and does not
 * begin with a well-formed sequence. */
size_t utf8_bad(struct span s);

/*
 * The bytes of s up to the first ill-formed one, or to the end of the
 * sequence that reaches n; n <= s.len.
 */
size_t utf8_run(struct span s, size_t n);

bool utf8_ok(struct span s);

#endif
