/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as an event's name and data, read back by a parser that follows
 * the WHATWG rules to the letter: exactly one event comes out, with its id,
 * its name, and its data with line ends as LF and NUL as U+FFFD.
 */
#include "frame.h"

#include <string.h>

#include "fuzz.h"
#include "jsontext.h"
#include "name.h"

struct parsed {
	struct buf id, event, data;
	size_t n_events;
	struct buf last_event, last_data;
};

static void
put(struct buf *b, struct span s)
{
	MUST(buf_append(b, s) == ST_OK);
}

static void
set(struct buf *b, struct span s)
{
	buf_clear(b);
	put(b, s);
}

static void
dispatch(struct parsed *p)
{
	if (p->data.len == 0) {
		buf_clear(&p->event);
		return;
	}
	buf_truncate(&p->data, p->data.len - 1); /* the last LF */
	p->n_events++;
	set(&p->last_event, buf_span(&p->event));
	set(&p->last_data, buf_span(&p->data));
	buf_clear(&p->event);
	buf_clear(&p->data);
}

static void
field(struct parsed *p, struct span name, struct span value)
{
	if (span_eq(name, SPAN("event"))) {
		set(&p->event, value);
	} else if (span_eq(name, SPAN("data"))) {
		put(&p->data, value);
		put(&p->data, SPAN("\n"));
	} else if (span_eq(name, SPAN("id"))) {
		if (value.len == 0 || memchr(value.p, '\0', value.len) == NULL)
			set(&p->id, value);
	} else {
		MUST(!"a field that we never send");
	}
}

static void
line(struct parsed *p, struct span s)
{
	struct span name;

	if (s.len == 0) {
		dispatch(p);
		return;
	}
	if (s.p[0] == ':')
		return;
	(void)span_cut(&s, ':', &name);
	if (s.p == NULL)
		s = SPAN("");
	if (s.len > 0 && s.p[0] == ' ')
		s = span_skip(s, 1);
	field(p, name, s);
}

/* Lines end with LF, CR or CRLF; an unfinished one is not a line. */
static void
parse(struct parsed *p, struct span s)
{
	size_t i, from = 0;

	for (i = 0; i < s.len; i++) {
		if (s.p[i] != '\n' && s.p[i] != '\r')
			continue;
		line(p, span_of(s.p + from, i - from));
		if (s.p[i] == '\r' && i + 1 < s.len && s.p[i + 1] == '\n')
			i++;
		from = i + 1;
	}
	MUST(from == s.len);
	MUST(p->data.len == 0 && p->event.len == 0);
}

/* What a page is to see of the data. */
static void
normalised(struct buf *out, struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '\0') {
			put(out, SPAN("\xef\xbf\xbd"));
		} else if (s.p[i] == '\r') {
			put(out, SPAN("\n"));
			if (i + 1 < s.len && s.p[i + 1] == '\n')
				i++;
		} else {
			put(out, span_of(s.p + i, 1));
		}
	}
}

static void
check_common(const struct parsed *p, const struct store_event *e)
{
	struct span want = SPAN("");
	int64_t id;

	MUST(p->n_events == 1);
	MUST(span_to_int64(buf_span(&p->id), &id) && id == e->id);
	if (name_event_ok(e->event) && !span_eq(e->event, SPAN("message")))
		want = e->event;
	MUST(span_eq(buf_span(&p->last_event), want));
}

static void
parsed_init(struct parsed *p)
{
	memset(p, 0, sizeof(*p));
	buf_init(&p->id, SIZE_MAX / 4);
	buf_init(&p->event, SIZE_MAX / 4);
	buf_init(&p->data, SIZE_MAX / 4);
	buf_init(&p->last_event, SIZE_MAX / 4);
	buf_init(&p->last_data, SIZE_MAX / 4);
}

static void
parsed_fini(struct parsed *p)
{
	buf_fini(&p->id);
	buf_fini(&p->event);
	buf_fini(&p->data);
	buf_fini(&p->last_event);
	buf_fini(&p->last_data);
}

static void
check_event(const struct store_event *e)
{
	struct buf out, want;
	struct parsed p;

	buf_init(&out, SIZE_MAX / 4);
	buf_init(&want, SIZE_MAX / 4);
	parsed_init(&p);
	MUST(frame_event(&out, e) == ST_OK);
	parse(&p, buf_span(&out));
	check_common(&p, e);
	normalised(&want, e->data);
	MUST(span_eq(buf_span(&p.last_data), buf_span(&want)));
	parsed_fini(&p);
	buf_fini(&out);
	buf_fini(&want);
}

static void
check_envelope(const struct store_event *e)
{
	struct span value;
	struct parsed p;
	struct buf out;
	size_t at, lines = 0, i;

	buf_init(&out, SIZE_MAX / 4);
	parsed_init(&p);
	MUST(frame_envelope(&out, e) == ST_OK);
	parse(&p, buf_span(&out));
	check_common(&p, e);
	value = buf_span(&p.last_data);
	/* One level deeper than the data that was let in. */
	MUST(memchr(value.p, '\n', value.len) == NULL);
	MUST(jsontext_check(value, &at) != ST_INVALID);
	for (i = 0; i < out.len; i++)
		lines += out.base[out.start + i] == '\n';
	MUST(lines == 3 || (lines == 4 && p.last_event.len > 0));
	if (jsontext_check(value, &at) == ST_OK)
		MUST(jsontext_member(value, SPAN("data"), &value) == ST_OK);
	parsed_fini(&p);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_event e = {.channel = SPAN("a")};
	size_t name, channel;

	if (size < 5)
		return 0;
	name = data[0] < size - 5 ? data[0] : size - 5;
	channel = data[4] < size - 5 - name ? data[4] : size - 5 - name;
	e.kind = (enum store_data)(data[1] % 3);
	e.id = (int64_t)data[2] << (data[3] % 48);
	e.prev = data[3];
	e.event = span_of((const char *)data + 5, name);
	e.channel = span_of((const char *)data + 5 + name, channel);
	e.trace = data[3] % 2 == 0 ? SPAN_NONE : e.channel;
	e.data = span_of((const char *)data + 5 + name + channel,
	    size - 5 - name - channel);
	check_event(&e);
	check_envelope(&e);
	return 0;
}
