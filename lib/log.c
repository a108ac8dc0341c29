/* SPDX-License-Identifier: MIT */
/*
 * Log lines.  One write(2) a line to fd 2, so that lines of several processes
 * do not mix.  May block when stderr does.
 */
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "jsontext.h"
#include "utf8.h"

#define TEXT_MAX_BYTES  2048 /* of a message */
#define FIELD_MAX_BYTES 512
#define LINE_MAX_BYTES  16384 /* a message of controls, escaped, fits */
#define GATE_LINES      10    /* until log_limit() */
#define GATE_US         1000000
#define STATE_US        60000000

static struct {
	const char *program;
	enum log_format format;
	enum log_level level;
	unsigned gate_lines;
	uint64_t n_dropped;
	struct log_last last;
	char room[LINE_MAX_BYTES];
} self = {.program = "walcast",
    .format = LOG_TEXT,
    .level = LOG_INFO_,
    .gate_lines = GATE_LINES};

#define LEVEL_NAME(member, name) name,
static const char *const level_names[] = {LOG_LEVELS(LEVEL_NAME)};

void
log_init(const char *program, enum log_format format, enum log_level level)
{
	self.program = program;
	self.format = format;
	self.level = level;
}

/*
 * Masks what a terminal would obey (utf8.h).  In a field, quoting escapes C0
 * and replaces what is not UTF-8; a plain line of text is not quoted, so both
 * are masked here.
 */
static void
mask_controls(char *text, size_t len, bool plain)
{
	struct span s = span_of(text, len);
	unsigned code;
	size_t n;

	for (; s.len > 0; s = span_skip(s, n)) {
		n = utf8_decode(s, &code);
		if (n == 0) {
			n = 1;
			code = plain && self.format == LOG_TEXT ? 0 : 'x';
		}
		if (utf8_is_hidden(code) && (plain || code >= ' '))
			memset(text + len - s.len, '?', n);
	}
}

static void
write_line(struct span line)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line.p, line.len);
	while (n < 0 && errno == EINTR);
}

static void
remember(struct span text)
{
	self.last.ts_ms = clock_real_ms();
	(void)snprintf(self.last.text, sizeof(self.last.text), "%.*s",
	    (int)text.len, text.p);
}

const struct log_last *
log_last_error(void)
{
	return &self.last;
}

/*
 * Lines are put together one at a time, in static memory, since some of them
 * report a lack of memory.  Never given to buf_fini.
 */
static struct buf
lend_room(size_t max)
{
	assert(max <= sizeof(self.room));
	return (struct buf){.base = self.room, .cap = max, .max = max};
}

/* What every line begins with. */
static void
begin_line(struct buf *line, enum log_level level)
{
	*line = lend_room(LINE_MAX_BYTES);
	if (self.format == LOG_JSON)
		buf_addf(line,
		    "{\"ts_ms\":%lld,\"level\":\"%s\",\"program\":\"%s\","
		    "\"pid\":%ld",
		    (long long)clock_real_ms(), level_names[level],
		    self.program, (long)getpid());
	else
		buf_addf(line, "%s[%ld]: %s%s", self.program, (long)getpid(),
		    level <= LOG_WARN_ ? level_names[level] : "",
		    level <= LOG_WARN_ ? ": " : "");
}

/* A line that does not fit is not written. */
static void
end_line(struct buf *line)
{
	buf_add(line, self.format == LOG_JSON ? SPAN("}\n") : SPAN("\n"));
	if (buf_status(line) == ST_OK)
		write_line(buf_span(line));
}

static void
emit(enum log_level level, const char *text)
{
	struct buf line;

	begin_line(&line, level);
	if (level <= LOG_WARN_)
		remember(span_str(text));
	if (self.format == LOG_JSON) {
		buf_add(&line, SPAN(",\"msg\":"));
		jsontext_add_quoted(&line, span_str(text));
	} else {
		buf_add(&line, span_str(text));
	}
	end_line(&line);
}

static void
vlog(enum log_level level, int err, const char *fmt, va_list ap)
{
	char text[TEXT_MAX_BYTES];
	size_t n;

	if (level > self.level)
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (err != 0)
		(void)snprintf(text + n, sizeof(text) - n, ": %s",
		    strerror(err));
	mask_controls(text, strlen(text), true);
	emit(level, text);
}

#define LOG_BODY(level, err)                                                   \
	do {                                                                   \
		int saved = errno;                                             \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, fmt);                                             \
		vlog(level, err, fmt, ap);                                     \
		va_end(ap);                                                    \
		errno = saved;                                                 \
	} while (0)

void
log_error(const char *fmt, ...)
{
	LOG_BODY(LOG_ERROR_, 0);
}

void
log_warn(const char *fmt, ...)
{
	LOG_BODY(LOG_WARN_, saved);
}

void
log_warnx(const char *fmt, ...)
{
	LOG_BODY(LOG_WARN_, 0);
}

void
log_info(const char *fmt, ...)
{
	LOG_BODY(LOG_INFO_, 0);
}

/* ---- events ------------------------------------------------------------- */

bool
log_wants(enum log_level level)
{
	return level <= self.level;
}

/* Written so that it can be read back: quoted unless it is printable ASCII. */
static void
put_plain(struct buf *out, struct span text)
{
	size_t i;

	for (i = 0; i < text.len; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7f || text.p[i] == '"' ||
		    text.p[i] == '=') {
			jsontext_add_quoted(out, text);
			return;
		}
	buf_add(out, text);
}

/* Quoting escapes C0 and what is not UTF-8; the others are masked. */
static void
put_text(struct buf *out, bool json, struct span text)
{
	char copy[FIELD_MAX_BYTES];
	size_t n = text.len;

	if (n > sizeof(copy)) {
		n = sizeof(copy);
		/* Never cuts a character, of four bytes at most. */
		while (n > sizeof(copy) - 4 && (text.p[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(copy, text.p, n);
	mask_controls(copy, n, false);
	text = span_of(copy, n);
	if (json)
		jsontext_add_quoted(out, text);
	else
		put_plain(out, text);
}

static void
put_field(struct buf *out, bool json, const struct log_field *f)
{
	if (!f->is_number && f->text.len == 0)
		return;
	buf_addf(out, json ? ",\"%s\":" : " %s=", f->name);
	if (f->is_number)
		buf_add_int64(out, f->number);
	else
		put_text(out, json, f->text);
}

/* A field that does not fit is left out, so that the line is not lost. */
static void
put_event(struct buf *out, bool json, const char *event,
    const struct log_field *fields, size_t n)
{
	enum status st;
	size_t i, before;

	buf_addf(out, json ? ",\"event\":\"%s\"" : "%s", event);
	for (i = 0; buf_status(out) == ST_OK && i < n; i++) {
		before = out->len;
		put_field(out, json, &fields[i]);
		st = buf_finish(out, before);
		if (out->len > LINE_MAX_BYTES - 2)
			buf_truncate(out, before);
		if (st != ST_FULL)
			buf_note(out, st);
	}
}

static void
remember_event(const char *event, const struct log_field *fields, size_t n)
{
	struct buf text = lend_room(sizeof(self.last.text) - 1);

	put_event(&text, false, event, fields, n);
	if (buf_status(&text) == ST_OK)
		remember(buf_span(&text));
	else
		remember(span_str(event));
}

void
log_fields(enum log_level level, const char *event,
    const struct log_field *fields, size_t n)
{
	int saved = errno;
	struct buf line;

	if (!log_wants(level))
		return;
	if (level <= LOG_WARN_)
		remember_event(event, fields, n);
	begin_line(&line, level);
	put_event(&line, self.format == LOG_JSON, event, fields, n);
	end_line(&line);
	errno = saved;
}

/* ---- gates -------------------------------------------------------------- */

void
log_limit(unsigned lines)
{
	self.gate_lines = lines;
}

uint64_t
log_n_dropped(void)
{
	return self.n_dropped;
}

/* This is no error, so it must not become the last one. */
static void
tell_held(const struct log_gate *g)
{
	struct log_last last = self.last;

	log_warnx("%u lines like the next were left out", g->n_held);
	self.last = last;
}

bool
log_gate(struct log_gate *g, uint64_t now_us)
{
	if (now_us - g->since_us >= GATE_US) {
		if (g->n_held > 0)
			tell_held(g);
		g->since_us = now_us;
		g->n_passed = 0;
		g->n_held = 0;
	}
	if (self.gate_lines > 0 && g->n_passed >= self.gate_lines) {
		g->n_held++;
		self.n_dropped++;
		return false;
	}
	g->n_passed++;
	return true;
}

bool
log_state(struct log_state *s, int why, uint64_t now_us)
{
	if (s->told_us != 0 && s->why == why && now_us - s->told_us < STATE_US)
		return false;
	s->told_us = now_us;
	s->why = why;
	return true;
}

void
log_state_over(struct log_state *s)
{
	s->told_us = 0;
}
