/* SPDX-License-Identifier: MIT */
/*
 * HTTP head, chunks and event stream of one response; see ssewire.h.
 *
 * Lines are cut by memchr in the caller's buffer; only what crosses the end
 * of a buffer is copied, so an event costs no allocation and one copy of its
 * id.  A buffer without any CR takes the path that looks for LF alone.
 */
#include "ssewire.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum chunk_state {
	CHUNK_SIZE,
	CHUNK_EXT, /* up to the LF of the size line */
	CHUNK_DATA,
	CHUNK_CR, /* after the data */
	CHUNK_LF,
	CHUNK_TRAILER, /* at the beginning of a trailer line */
	CHUNK_TRAILER_LINE,
};

static bool
buf_add(struct wire_buf *b, const char *p, size_t len)
{
	size_t cap = b->cap > 0 ? b->cap : 256;
	char *grown;

	while (cap - b->len < len)
		cap *= 2;
	if (cap != b->cap) {
		grown = realloc(b->p, cap);
		if (grown == NULL)
			return false; /* UNTESTED: no memory */
		b->p = grown;
		b->cap = cap;
	}
	memcpy(b->p + b->len, p, len);
	b->len += len;
	return true;
}

void
wire_init(struct wire *w, wire_block_fn *fn, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->fn = fn;
	w->arg = arg;
}

void
wire_reset(struct wire *w)
{
	struct wire fresh = {
	    .fn = w->fn,
	    .arg = w->arg,
	    .keep_data = w->keep_data,
	    .n_comments = w->n_comments,
	    .n_heartbeats = w->n_heartbeats,
	    .line = w->line,
	    .saved = w->saved,
	};

	fresh.line.len = 0;
	fresh.saved.len = 0;
	*w = fresh;
}

void
wire_fini(struct wire *w)
{
	free(w->line.p);
	free(w->saved.p);
	memset(&w->line, 0, sizeof(w->line));
	memset(&w->saved, 0, sizeof(w->saved));
}

/* --- the event stream --- */

static void
dispatch(struct wire *w)
{
	struct wire_block b = {
	    .has_id = w->has_id,
	    .has_retry = w->has_retry,
	    .has_data = w->has_data,
	    .retry_ms = w->retry_ms,
	    .id = {w->id, w->id_len},
	    .event = {w->event, w->has_event ? w->event_len : 0},
	    .data = w->data,
	};

	if (w->keep_data)
		b.data = (struct wire_text){w->saved.p, w->saved.len};
	w->has_id = w->has_event = w->has_retry = w->has_data = false;
	w->data.len = 0;
	w->saved.len = 0;
	w->fn(w->arg, &b);
}

static bool
take_data(struct wire *w, const char *p, size_t len)
{
	if (w->keep_data) {
		if (w->has_data && !buf_add(&w->saved, "\n", 1))
			return false;
		w->has_data = true;
		return buf_add(&w->saved, p, len);
	}
	if (!w->has_data)
		w->data = (struct wire_text){p, len};
	w->has_data = true;
	return true;
}

static void
take_id(struct wire *w, const char *p, size_t len)
{
	if (len > 0 && memchr(p, '\0', len) != NULL)
		return; /* the standard ignores an id with a NUL */
	w->id_len = len < sizeof(w->id) ? len : sizeof(w->id);
	memcpy(w->id, p, w->id_len);
	w->has_id = true;
}

static void
take_retry(struct wire *w, const char *p, size_t len)
{
	uint64_t v = 0;
	size_t i;

	if (len == 0 || len > 12)
		return;
	for (i = 0; i < len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	w->retry_ms = v;
	w->has_retry = true;
}

static bool
take_field(struct wire *w, const char *p, size_t name_len, const char *value,
    size_t len)
{
	if (name_len == 4 && memcmp(p, "data", 4) == 0)
		return take_data(w, value, len);
	if (name_len == 2 && memcmp(p, "id", 2) == 0)
		take_id(w, value, len);
	else if (name_len == 5 && memcmp(p, "event", 5) == 0) {
		w->event_len = len < sizeof(w->event) ? len : sizeof(w->event);
		memcpy(w->event, value, w->event_len);
		w->has_event = true;
	} else if (name_len == 5 && memcmp(p, "retry", 5) == 0)
		take_retry(w, value, len);
	return true;
}

/* One line without its end.  False: no memory. */
static bool
take_line(struct wire *w, const char *p, size_t len)
{
	const char *colon;
	size_t name_len;

	if (!w->begun) {
		w->begun = true;
		if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
			p += 3;
			len -= 3;
		}
	}
	if (len == 0) {
		dispatch(w);
		return true;
	}
	if (p[0] == ':') {
		w->n_comments++;
		if (len >= 4 && memcmp(p, ": hb", 4) == 0)
			w->n_heartbeats++;
		return true;
	}
	/* the names that matter are short: look there first */
	colon = memchr(p, ':', len < 6 ? len : 6);
	if (colon == NULL)
		return len > 5 || take_field(w, p, len, p + len, 0);
	name_len = (size_t)(colon - p);
	colon++;
	if (colon < p + len && *colon == ' ')
		colon++;
	return take_field(w, p, name_len, colon, (size_t)(p + len - colon));
}

/* A line whose beginning came with an earlier buffer. */
static bool
take_carried(struct wire *w, const char *p, size_t len)
{
	bool ok = buf_add(&w->line, p, len);
	bool first = !w->has_data;

	ok = ok && take_line(w, w->line.p, w->line.len);
	if (ok && !w->keep_data && first && w->has_data) {
		/* `data` points into `line`, which is about to be reused */
		ok = buf_add(&w->saved, w->data.p, w->data.len);
		w->data.p = w->saved.p;
	}
	w->line.len = 0;
	return ok;
}

/* The end of the line that begins at p, or NULL. */
static const char *
line_end(const char *p, const char *end, bool any_cr)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p)), *cr;

	if (!any_cr)
		return lf;
	cr = memchr(p, '\r', (size_t)((lf != NULL ? lf : end) - p));
	return cr != NULL ? cr : lf;
}

/* Keeps what is begun and lies in a buffer that the caller will reuse. */
static enum wire_status
keep_rest(struct wire *w, const char *p, size_t len)
{
	if (len > WIRE_MAX_LINE - w->line.len)
		return WIRE_LONG_LINE;
	if (len > 0 && !buf_add(&w->line, p, len))
		return WIRE_NOMEM;
	if (w->has_data && !w->keep_data && w->data.p != w->saved.p) {
		w->saved.len = 0;
		if (!buf_add(&w->saved, w->data.p, w->data.len))
			return WIRE_NOMEM;
		w->data.p = w->saved.p;
	}
	return WIRE_OK;
}

static enum wire_status
feed_stream(struct wire *w, const char *p, size_t len)
{
	const char *end = p + len, *eol;
	bool any_cr = memchr(p, '\r', len) != NULL;
	bool ok;

	if (w->skip_lf && len > 0) {
		p += *p == '\n';
		w->skip_lf = false;
	}
	while (p < end && (eol = line_end(p, end, any_cr)) != NULL) {
		if (w->line.len > 0)
			ok = take_carried(w, p, (size_t)(eol - p));
		else
			ok = take_line(w, p, (size_t)(eol - p));
		if (!ok)
			return WIRE_NOMEM;
		p = eol + 1;
		if (*eol != '\r')
			continue;
		if (p == end)
			w->skip_lf = true;
		else
			p += *p == '\n';
	}
	return keep_rest(w, p, (size_t)(end - p));
}

/* --- chunked transfer coding --- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of framing. */
static enum wire_status
frame_byte(struct wire *w, char c)
{
	int digit;

	switch (w->chunk_state) {
	case CHUNK_SIZE:
		digit = hex_digit(c);
		if (digit >= 0) {
			if (w->chunk_left >> 56 != 0)
				return WIRE_BAD_CHUNK;
			w->chunk_left = w->chunk_left * 16 + (uint64_t)digit;
			w->any_digit = true;
			return WIRE_OK;
		}
		if (!w->any_digit || (c != '\r' && c != ';' && c != ' '))
			return WIRE_BAD_CHUNK;
		w->any_digit = false;
		w->chunk_state = CHUNK_EXT;
		return WIRE_OK;
	case CHUNK_EXT:
		if (c == '\n')
			w->chunk_state = w->chunk_left > 0 ? CHUNK_DATA
							   : CHUNK_TRAILER;
		return WIRE_OK;
	case CHUNK_CR:
		w->chunk_state = CHUNK_LF;
		return c == '\r' ? WIRE_OK : WIRE_BAD_CHUNK;
	case CHUNK_LF:
		w->chunk_state = CHUNK_SIZE;
		return c == '\n' ? WIRE_OK : WIRE_BAD_CHUNK;
	case CHUNK_TRAILER:
		if (c == '\n')
			w->ended = true;
		else if (c != '\r')
			w->chunk_state = CHUNK_TRAILER_LINE;
		return WIRE_OK;
	default:
		if (c == '\n')
			w->chunk_state = CHUNK_TRAILER;
		return WIRE_OK;
	}
}

static enum wire_status
feed_body(struct wire *w, const char *p, size_t len)
{
	enum wire_status rc = WIRE_OK;
	size_t n;

	if (!w->chunked)
		return feed_stream(w, p, len);
	while (len > 0 && rc == WIRE_OK && !w->ended) {
		if (w->chunk_state != CHUNK_DATA) {
			rc = frame_byte(w, *p++);
			len--;
			continue;
		}
		n = w->chunk_left < len ? (size_t)w->chunk_left : len;
		rc = feed_stream(w, p, n);
		p += n;
		len -= n;
		w->chunk_left -= n;
		if (w->chunk_left == 0)
			w->chunk_state = CHUNK_CR;
	}
	return rc;
}

/* --- the head --- */

static void
head_line(struct wire *w, const char *p, size_t len)
{
	static const char type[] = "content-type:", te[] = "transfer-encoding:";
	size_t n;

	if (len >= sizeof(type) - 1 &&
	    strncasecmp(p, type, sizeof(type) - 1) == 0) {
		n = sizeof(type) - 1;
		while (n < len && p[n] == ' ')
			n++;
		w->event_stream = len - n >= 17 &&
		    strncasecmp(p + n, "text/event-stream", 17) == 0;
	} else if (len >= sizeof(te) - 1 &&
	    strncasecmp(p, te, sizeof(te) - 1) == 0) {
		w->chunked = true;
	}
}

static enum wire_status
take_head(struct wire *w)
{
	const char *p = w->line.p, *end = p + w->line.len, *eol;

	if (w->line.len < 13 || memcmp(p, "HTTP/1.", 7) != 0)
		return WIRE_BAD_HEAD;
	while (p < end && (eol = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		head_line(w, p, (size_t)(eol - p));
		p = eol + 1;
	}
	w->status = (unsigned)strtoul(w->line.p + 9, NULL, 10);
	w->line.len = 0;
	return w->status == 200 && w->event_stream ? WIRE_OK : WIRE_HEAD;
}

enum wire_status
wire_feed(struct wire *w, const char *p, size_t len)
{
	enum wire_status rc;
	const char *blank;
	size_t from, had, used;

	if (w->status != 0)
		return w->ended ? WIRE_OK : feed_body(w, p, len);
	had = w->line.len;
	from = had > 3 ? had - 3 : 0;
	if (len > WIRE_MAX_HEAD)
		used = WIRE_MAX_HEAD;
	else
		used = len;
	if (!buf_add(&w->line, p, used))
		return WIRE_NOMEM;
	blank = memmem(w->line.p + from, w->line.len - from, "\r\n\r\n", 4);
	if (blank == NULL)
		return w->line.len > WIRE_MAX_HEAD ? WIRE_BAD_HEAD : WIRE_OK;
	w->line.len = (size_t)(blank - w->line.p) + 4;
	used = w->line.len - had;
	rc = take_head(w);
	return rc != WIRE_OK ? rc : feed_body(w, p + used, len - used);
}
