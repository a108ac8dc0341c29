/* SPDX-License-Identifier: MIT */
/*
 * Log lines.  One write(2) a line to fd 2, so that lines of several processes
 * do not mix.  May block when stderr does.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "jsontext.h"

#define LINE_MAX_BYTES 2048
#define GATE_LINES     10
#define GATE_US        1000000

static struct {
	const char *program;
	enum log_format format;
	enum log_level level;
} self = {"walcast", LOG_TEXT, LOG_INFO_};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void
log_init(const char *program, enum log_format format, enum log_level level)
{
	self.program = program;
	self.format = format;
	self.level = level;
}

static void
escape_controls(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
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
emit(enum log_level level, const char *text)
{
	struct buf line;
	enum status st;

	buf_init(&line, 3 * LINE_MAX_BYTES);
	if (self.format == LOG_JSON) {
		st = buf_printf(&line,
		    "{\"ts_ms\":%lld,\"level\":\"%s\",\"program\":\"%s\","
		    "\"pid\":%ld,\"msg\":",
		    (long long)clock_real_ms(), level_names[level],
		    self.program, (long)getpid());
		if (st == ST_OK)
			st = jsontext_quote(&line, span_str(text));
		if (st == ST_OK)
			st = buf_append(&line, SPAN("}\n"));
	} else {
		st = buf_printf(&line, "%s[%ld]: %s%s%s\n", self.program,
		    (long)getpid(),
		    level <= LOG_WARN_ ? level_names[level] : "",
		    level <= LOG_WARN_ ? ": " : "", text);
	}
	if (st == ST_OK)
		write_line(buf_span(&line));
	buf_fini(&line);
}

static void
vlog(enum log_level level, int err, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES];
	size_t n;

	if (level > self.level)
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (err != 0)
		(void)snprintf(text + n, sizeof(text) - n, ": %s",
		    strerror(err));
	escape_controls(text);
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

void
log_debug(const char *fmt, ...)
{
	LOG_BODY(LOG_DEBUG_, 0);
}

bool
log_gate(struct log_gate *g, uint64_t now_us)
{
	if (now_us - g->since_us >= GATE_US) {
		if (g->n_held > 0)
			log_warnx("%u lines like the next were left out",
			    g->n_held);
		g->since_us = now_us;
		g->n_passed = 0;
		g->n_held = 0;
	}
	if (g->n_passed >= GATE_LINES) {
		g->n_held++;
		return false;
	}
	g->n_passed++;
	return true;
}
