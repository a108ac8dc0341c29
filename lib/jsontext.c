/* SPDX-License-Identifier: MIT */
/*
 * JSON as text: one pass that checks it, and walkers for checked text.
 *
 * The checker keeps one bit for each open array or object, so depth costs no
 * stack.  String bodies are skipped eight bytes at a time.  The walkers trust
 * the text to be checked, but never leave its bounds.  Nothing here blocks.
 */
#include "jsontext.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "utf8.h"

static_assert(JSONTEXT_MAX_DEPTH <= 64, "one bit of a uint64_t each");

struct jsontext_scan {
	const unsigned char *p; /* the next byte */
	const unsigned char *end;
	uint64_t objects; /* bit i: the container at depth i is an object */
	unsigned depth;
};

static bool
is_space(unsigned char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex(unsigned char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A byte of a string body that stands for itself. */
static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* Are all eight bytes plain?  No carry can cause a wrong yes. */
static bool
word_is_plain(uint64_t w)
{
	uint64_t quote = w ^ EACH_BYTE('"'), slash = w ^ EACH_BYTE('\\');
	uint64_t bad = w; /* not ASCII */

	bad |= (w - EACH_BYTE(0x20)) & ~w;
	bad |= (quote - EACH_BYTE(1)) & ~quote;
	bad |= (slash - EACH_BYTE(1)) & ~slash;
	return (bad & EACH_BYTE(0x80)) == 0;
}

static const unsigned char *
past_plain(const unsigned char *p, const unsigned char *end)
{
	uint64_t w;

	while (end - p >= 8) {
		memcpy(&w, p, 8);
		if (!word_is_plain(w))
			break;
		p += 8;
	}
	while (p < end && is_plain(*p))
		p++;
	return p;
}

static struct span
between(const unsigned char *p, const unsigned char *end)
{
	return span_of((const char *)p, (size_t)(end - p));
}

/* A run of bytes beyond ASCII. */
static bool
scan_utf8(struct jsontext_scan *s)
{
	const unsigned char *run = s->p;
	size_t n;

	while (s->p < s->end && *s->p >= 0x80)
		s->p++;
	n = (size_t)(s->p - run);
	s->p = run + utf8_run(between(run, s->p), n);
	return s->p == run + n;
}

static bool
scan_escape(struct jsontext_scan *s)
{
	int i;

	s->p++;
	if (s->p == s->end)
		return false;
	if (*s->p != 'u') {
		if (*s->p == '\0' || strchr("\"\\/bfnrt", *s->p) == NULL)
			return false;
		s->p++;
		return true;
	}
	s->p++;
	for (i = 0; i < 4; i++, s->p++)
		if (s->p == s->end || !is_hex(*s->p))
			return false;
	return true;
}

/* From the opening quote past the closing one. */
static bool
scan_string(struct jsontext_scan *s)
{
	s->p++;
	for (;;) {
		s->p = past_plain(s->p, s->end);
		if (s->p == s->end)
			return false;
		if (*s->p == '"') {
			s->p++;
			return true;
		}
		if (*s->p == '\\') {
			if (!scan_escape(s))
				return false;
		} else if (*s->p < 0x80 || !scan_utf8(s)) {
			return false;
		}
	}
}

static bool
scan_digits(struct jsontext_scan *s)
{
	if (s->p == s->end || !is_digit(*s->p))
		return false;
	while (s->p < s->end && is_digit(*s->p))
		s->p++;
	return true;
}

static bool
scan_number(struct jsontext_scan *s)
{
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!scan_digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		return scan_digits(s);
	}
	return true;
}

static bool
scan_word(struct jsontext_scan *s, const char *word)
{
	for (; *word != '\0'; word++, s->p++)
		if (s->p == s->end || *s->p != (unsigned char)*word)
			return false;
	return true;
}

static void
skip_space(struct jsontext_scan *s)
{
	while (s->p < s->end && is_space(*s->p))
		s->p++;
}

/* A member's name and the colon. */
static bool
scan_name(struct jsontext_scan *s)
{
	skip_space(s);
	if (s->p == s->end || *s->p != '"' || !scan_string(s))
		return false;
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return false;
	s->p++;
	return true;
}

/* As scan_value. */
static enum status
scan_open(struct jsontext_scan *s, bool object)
{
	uint64_t bit;

	if (s->depth == JSONTEXT_MAX_DEPTH)
		return ST_TOOLARGE;
	bit = UINT64_C(1) << s->depth++;
	s->objects = object ? s->objects | bit : s->objects & ~bit;
	s->p++;
	skip_space(s);
	if (s->p < s->end && *s->p == (object ? '}' : ']')) {
		s->p++;
		s->depth--;
		return ST_OK;
	}
	return object && !scan_name(s) ? ST_INVALID : ST_AGAIN;
}

/* ST_OK: a value is complete; ST_AGAIN: the first one inside it follows. */
static enum status
scan_value(struct jsontext_scan *s)
{
	bool ok;

	skip_space(s);
	if (s->p == s->end)
		return ST_INVALID;
	switch (*s->p) {
	case '{':
		return scan_open(s, true);
	case '[':
		return scan_open(s, false);
	case '"':
		ok = scan_string(s);
		break;
	case 't':
		ok = scan_word(s, "true");
		break;
	case 'f':
		ok = scan_word(s, "false");
		break;
	case 'n':
		ok = scan_word(s, "null");
		break;
	default:
		ok = (*s->p == '-' || is_digit(*s->p)) && scan_number(s);
		break;
	}
	return ok ? ST_OK : ST_INVALID;
}

/* ST_OK: that was the outermost value; ST_AGAIN: another one follows. */
static enum status
scan_after_value(struct jsontext_scan *s)
{
	while (s->depth > 0) {
		bool object = (s->objects >> (s->depth - 1)) & 1;

		skip_space(s);
		if (s->p == s->end)
			return ST_INVALID;
		if (*s->p == ',') {
			s->p++;
			return object && !scan_name(s) ? ST_INVALID : ST_AGAIN;
		}
		if (*s->p != (object ? '}' : ']'))
			return ST_INVALID;
		s->p++;
		s->depth--;
	}
	return ST_OK;
}

enum status
jsontext_check(struct span text, size_t *at)
{
	const unsigned char *begin = (const unsigned char *)text.p;
	struct jsontext_scan s = {.p = begin};
	enum status st;

	*at = 0;
	if (text.len == 0)
		return ST_INVALID;
	s.end = begin + text.len;
	do {
		st = scan_value(&s);
		if (st == ST_OK)
			st = scan_after_value(&s);
	} while (st == ST_AGAIN);
	if (st == ST_OK) {
		skip_space(&s);
		if (s.p != s.end)
			st = ST_INVALID;
	}
	*at = (size_t)(s.p - begin);
	return st;
}

/* ---- walking over checked text ------------------------------------------ */

static const char *
past_space(const char *p, const char *end)
{
	while (p < end && is_space((unsigned char)*p))
		p++;
	return p;
}

/*
 * p is at the opening quote.  Backslashes are counted back from each quote, but
 * never past the one before it, so the search stays linear.
 */
static const char *
past_string(const char *p, const char *end)
{
	const char *quote = p, *first;

	for (;;) {
		quote++;
		quote = memchr(quote, '"', (size_t)(end - quote));
		if (quote == NULL)
			return end;
		first = quote;
		while (first - 1 > p && first[-1] == '\\')
			first--;
		if ((quote - first) % 2 == 0)
			return quote + 1;
	}
}

static const char *
past_container(const char *p, const char *end)
{
	unsigned depth = 0;

	while (p < end) {
		switch (*p) {
		case '"':
			p = past_string(p, end);
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p + 1;
			break;
		default:
			break;
		}
		p++;
	}
	return end;
}

static const char *
past_value(const char *p, const char *end)
{
	if (p == end)
		return end;
	if (*p == '"')
		return past_string(p, end);
	if (*p == '{' || *p == '[')
		return past_container(p, end);
	while (p < end && *p != ',' && *p != ']' && *p != '}' &&
	    !is_space((unsigned char)*p))
		p++;
	return p;
}

bool
jsontext_next_member(struct span *rest, struct span *name, struct span *value)
{
	const char *p, *begin, *end;

	if (rest->len == 0)
		return false;
	end = rest->p + rest->len;
	/* Between calls *rest begins with the comma or the brace. */
	begin = past_space(rest->p + 1, end);
	if (*rest->p == '}' || begin == end || *begin != '"')
		return false;
	p = past_string(begin, end);
	*name = span_of(begin + 1, (size_t)(p - begin) - 2);
	p = past_space(p, end);
	if (p == end)
		return false;
	begin = past_space(p + 1, end); /* behind the colon */
	p = past_value(begin, end);
	*value = span_of(begin, (size_t)(p - begin));
	p = past_space(p, end);
	*rest = span_of(p, (size_t)(end - p));
	return true;
}

enum status
jsontext_member(struct span text, struct span name, struct span *value)
{
	enum status st = ST_NOTFOUND;
	struct span found, found_value;

	while (text.len > 0 && is_space((unsigned char)*text.p))
		text = span_skip(text, 1);
	if (text.len == 0 || *text.p != '{')
		return ST_NOTFOUND;
	while (jsontext_next_member(&text, &found, &found_value)) {
		if (span_eq(found, name)) {
			*value = found_value;
			st = ST_OK;
		}
	}
	return st;
}

enum status
jsontext_element(struct span *rest, struct span *value)
{
	const char *p, *end, *begin;

	if (rest->len == 0)
		return ST_END;
	end = rest->p + rest->len;
	p = past_space(rest->p, end);
	/* Between calls *rest begins with the comma or the closing bracket. */
	begin = p;
	if (p < end && (*p == '[' || *p == ','))
		begin = past_space(p + 1, end);
	if (begin == p || begin == end || *begin == ']') {
		*rest = SPAN_NONE;
		return ST_END;
	}
	p = past_value(begin, end);
	*value = span_of(begin, (size_t)(p - begin));
	p = past_space(p, end);
	*rest = span_of(p, (size_t)(end - p));
	return ST_OK;
}

/* ---- writing ------------------------------------------------------------ */

/* Past the bytes at p up to the next white space between tokens. */
static const char *
past_tokens(const char *p, const char *end)
{
	while (p < end && !is_space((unsigned char)*p))
		p = *p == '"' ? past_string(p, end) : p + 1;
	return p;
}

void
jsontext_add_compact(struct buf *out, struct span text)
{
	const char *p = text.p, *end, *run;

	if (text.len == 0)
		return;
	end = text.p + text.len;
	while ((run = past_space(p, end)) < end) {
		p = past_tokens(run, end);
		buf_add(out, span_of(run, (size_t)(p - run)));
	}
}

static void
add_control(struct buf *out, unsigned char c)
{
	static const char letters[][3] = {
	    ['\b'] = "\\b",
	    ['\t'] = "\\t",
	    ['\n'] = "\\n",
	    ['\f'] = "\\f",
	    ['\r'] = "\\r",
	    ['"'] = "\\\"",
	    ['\\'] = "\\\\",
	};

	if (c < sizeof(letters) / sizeof(letters[0]) && letters[c][0] != '\0')
		buf_add(out, span_of(letters[c], 2));
	else
		buf_addf(out, "\\u%04x", c);
}

static void
add_body(struct buf *out, const unsigned char *p, const unsigned char *end)
{
	const unsigned char *run;
	size_t n;

	while (p < end) {
		run = p;
		p = past_plain(p, end);
		if (p == run && *p >= 0x80) {
			n = utf8_sequence(between(p, end));
			p += n == 0 ? utf8_bad(between(p, end)) : n;
			buf_add(out,
			    n == 0 ? SPAN("\\ufffd") : between(run, p));
		} else if (p == run) {
			add_control(out, *p++);
		} else {
			buf_add(out, between(run, p));
		}
	}
}

void
jsontext_add_quoted(struct buf *out, struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	buf_add(out, SPAN("\""));
	if (s.len > 0)
		add_body(out, p, p + s.len);
	buf_add(out, SPAN("\""));
}
