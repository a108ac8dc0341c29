/* SPDX-License-Identifier: MIT */
/* The HTML standard's event stream. */
#include "eventstream.h"

#include <string.h>

#include "fuzz.h"

#define TEXT_MAX ((size_t)1 << 24)

static void
put(struct buf *b, struct span s)
{
	MUST(buf_append(b, s) == ST_OK);
}

void
eventstream_init(struct eventstream *s)
{
	memset(s, 0, sizeof(*s));
	buf_init(&s->data, TEXT_MAX);
	buf_init(&s->type, TEXT_MAX);
	buf_init(&s->last_id, TEXT_MAX);
	buf_init(&s->kept, TEXT_MAX);
}

static size_t
keep(struct eventstream *s, struct span text)
{
	size_t at = s->kept.len;

	put(&s->kept, text);
	return at;
}

/* "Dispatch the event", steps 1 to 8. */
static void
dispatch(struct eventstream *s)
{
	struct eventstream_event *e = &s->event[s->n_events];

	if (s->data.len == 0) {
		buf_clear(&s->type);
		return;
	}
	MUST(s->n_events < EVENTSTREAM_MAX);
	buf_truncate(&s->data, s->data.len - 1); /* the last LF */
	e->id_at = keep(s, buf_span(&s->last_id));
	e->id_len = s->last_id.len;
	e->type_at = keep(s, buf_span(&s->type));
	e->type_len = s->type.len;
	e->data_at = keep(s, buf_span(&s->data));
	e->data_len = s->data.len;
	s->n_events++;
	buf_clear(&s->data);
	buf_clear(&s->type);
}

static bool
all_digits(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* "Process the field". */
static void
field(struct eventstream *s, struct span name, struct span value)
{
	if (span_eq(name, SPAN("event"))) {
		buf_clear(&s->type);
		put(&s->type, value);
	} else if (span_eq(name, SPAN("data"))) {
		put(&s->data, value);
		put(&s->data, SPAN("\n"));
	} else if (span_eq(name, SPAN("id"))) {
		if (span_find(value, '\0') != NULL)
			return;
		buf_clear(&s->last_id);
		put(&s->last_id, value);
	} else if (span_eq(name, SPAN("retry"))) {
		if (all_digits(value))
			s->retry = value;
	} else {
		s->n_unknown++;
	}
}

static void
line(struct eventstream *s, struct span text)
{
	const char *colon = span_find(text, ':');
	struct span value = SPAN("");

	if (text.len == 0) {
		dispatch(s);
	} else if (colon == text.p) {
		s->n_comments++;
	} else if (colon == NULL) {
		field(s, text, value);
	} else {
		size_t n = (size_t)(colon - text.p);

		value = span_skip(text, n + 1);
		if (value.len > 0 && value.p[0] == ' ')
			value = span_skip(value, 1);
		field(s, span_of(text.p, n), value);
	}
}

/* A line ends with CRLF, LF or CR; what follows the last one is dropped. */
void
eventstream_read(struct eventstream *s, struct span text)
{
	size_t i, from = 0;

	buf_clear(&s->data);
	buf_clear(&s->type);
	buf_clear(&s->last_id);
	buf_clear(&s->kept);
	s->n_events = s->n_comments = s->n_unknown = 0;
	s->retry = SPAN_NONE;
	for (i = 0; i < text.len; i++) {
		if (text.p[i] != '\n' && text.p[i] != '\r')
			continue;
		line(s, span_of(text.p + from, i - from));
		if (text.p[i] == '\r' && i + 1 < text.len &&
		    text.p[i + 1] == '\n')
			i++;
		from = i + 1;
	}
}

static struct span
part(const struct eventstream *s, size_t at, size_t len)
{
	return span_of(buf_span(&s->kept).p + at, len);
}

struct span
eventstream_id(const struct eventstream *s, size_t n)
{
	MUST(n < s->n_events);
	return part(s, s->event[n].id_at, s->event[n].id_len);
}

struct span
eventstream_type(const struct eventstream *s, size_t n)
{
	MUST(n < s->n_events);
	return part(s, s->event[n].type_at, s->event[n].type_len);
}

struct span
eventstream_data(const struct eventstream *s, size_t n)
{
	MUST(n < s->n_events);
	return part(s, s->event[n].data_at, s->event[n].data_len);
}
