/* SPDX-License-Identifier: MIT */
/* What the commands share.  Writing blocks on stdout and stderr. */
#include "cli_common.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "jsontext.h"
#include "utf8.h"

#define LINE_MAX_BYTES 2048

static const struct cli_command *current;

void
cli_set_command(const struct cli_command *command)
{
	current = command;
}

void
cli_say(const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	struct buf line;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&line, 4 * sizeof(text));
	cli_add_visible(&line, span_str(text));
	if (buf_status(&line) == ST_OK)
		(void)fprintf(stderr, "walcast%s%s: %.*s\n",
		    current == NULL ? "" : " ",
		    current == NULL ? "" : current->name,
		    (int)buf_span(&line).len, buf_span(&line).p);
	buf_fini(&line);
}

enum cli_exit
cli_usage(int option)
{
	if (option == 'h') {
		(void)printf("%s", current->help);
		return cli_finish(CLI_OK);
	}
	cli_say("see `walcast %s --help`", current->name);
	return CLI_USAGE;
}

bool
cli_confirm(const char *fmt, ...)
{
	char line[8] = "";
	va_list ap;

	if (!isatty(STDIN_FILENO))
		return true;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)printf(" [y/N] ");
	(void)fflush(stdout);
	return fgets(line, sizeof(line), stdin) != NULL &&
	    (line[0] == 'y' || line[0] == 'Y');
}

bool
cli_number(const char *what, const char *text, int64_t min, int64_t max,
    int64_t *out)
{
	int64_t v;

	if (span_to_int64(span_str(text), &v) && v >= min && v <= max) {
		*out = v;
		return true;
	}
	cli_say("%s: \"%.80s\" is not a whole number from %" PRId64
		" to %" PRId64,
	    what, text, min, max);
	return false;
}

struct store_options
cli_store(const struct cli *cli)
{
	return (struct store_options){
	    .path = cli->conf.database,
	    .synchronous_full = cli->conf.synchronous == CONF_SYNC_FULL,
	};
}

enum status
cli_write(struct span s)
{
	/* The first failure is final, and said once. */
	static enum status broken = ST_OK;

	if (broken != ST_OK)
		return broken;
	errno = 0;
	if (s.len > 0)
		(void)fwrite(s.p, 1, s.len, stdout);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return ST_OK;
	broken = errno == EPIPE ? ST_END : ST_IO;
	if (broken == ST_IO)
		cli_say("cannot write to standard output: %s",
		    errno == 0 ? "it failed before" : strerror(errno));
	return broken;
}

enum cli_exit
cli_finish(enum cli_exit code)
{
	return cli_write(SPAN_NONE) == ST_IO ? CLI_FAILED : code;
}

void
cli_pause_us(uint64_t us)
{
	struct timespec ts = {
	    .tv_sec = (time_t)(us / 1000000),
	    .tv_nsec = (long)(us % 1000000) * 1000,
	};

	/* A signal that cuts it short does no harm: callers look again. */
	(void)nanosleep(&ts, NULL);
}

bool
cli_free_bytes(const char *database, int64_t *out)
{
	char path[CONF_PATH_MAX];
	struct statvfs fs;

	(void)snprintf(path, sizeof(path), "%s", database);
	if (statvfs(dirname(path), &fs) < 0)
		return false;
	*out = (int64_t)(fs.f_bavail * fs.f_frsize);
	return true;
}

bool
cli_read_only(const char *database)
{
	char path[CONF_PATH_MAX];
	struct statvfs fs;

	(void)snprintf(path, sizeof(path), "%s", database);
	return statvfs(dirname(path), &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
}

const char *
cli_time(char out[CLI_TIME_BYTES], int64_t ts_ms)
{
	int64_t ms = ts_ms % 1000;
	struct tm tm;
	time_t t;
	char day[24];

	if (ms < 0)
		ms += 1000;
	t = (time_t)((ts_ms - ms) / 1000);
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year < -1900 ||
	    tm.tm_year > 8099 ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		(void)snprintf(out, CLI_TIME_BYTES, "%" PRId64 "ms", ts_ms);
	else
		(void)snprintf(out, CLI_TIME_BYTES, "%s.%03dZ", day, (int)ms);
	return out;
}

const char *
cli_age(char out[CLI_SIZE_BYTES], int64_t age_ms)
{
	int64_t s = age_ms / 1000;

	if (age_ms < 0)
		(void)snprintf(out, CLI_SIZE_BYTES, "future");
	else if (s < 10)
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 ".%d s", s,
		    (int)(age_ms % 1000 / 100));
	else if (s < 120)
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 " s", s);
	else if (s < 7200)
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 " min", s / 60);
	else if (s < 172800)
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 " h", s / 3600);
	else
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 " d", s / 86400);
	return out;
}

const char *
cli_size(char out[CLI_SIZE_BYTES], int64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		(void)snprintf(out, CLI_SIZE_BYTES, "%" PRId64 " B", bytes);
		return out;
	}
	while (v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		i++;
	}
	(void)snprintf(out, CLI_SIZE_BYTES, "%.1f %s", v, units[i]);
	return out;
}

/*
 * Looks at the character at the front of s, which is not empty.  Returns its
 * length; a byte that is not UTF-8 counts as one hidden character.
 */
static size_t
look_at_char(struct span s, unsigned *code, bool *hidden)
{
	size_t n = utf8_decode(s, code);

	*hidden = n == 0 || utf8_is_hidden(*code);
	return n == 0 ? 1 : n;
}

/* The bytes at the front that are shown as they are. */
static size_t
past_shown(struct span s)
{
	bool hidden = false;
	size_t at = 0, n = 0;
	unsigned code;

	while (at < s.len && !hidden) {
		n = look_at_char(span_skip(s, at), &code, &hidden);
		at += hidden ? 0 : n;
	}
	return at;
}

/* Adds text; add_hidden writes the characters in it that are hidden. */
static void
add_shown(struct buf *out, struct span text,
    void (*add_hidden)(struct buf *out, unsigned code))
{
	unsigned code;
	bool hidden;
	size_t n;

	while (text.len > 0) {
		n = past_shown(text);
		buf_add(out, span_of(text.p, n));
		text = span_skip(text, n);
		if (text.len == 0)
			break;
		text = span_skip(text, look_at_char(text, &code, &hidden));
		add_hidden(out, code);
	}
}

static void
add_for_terminal(struct buf *out, unsigned code)
{
	if (code == '\n')
		buf_add(out, SPAN("\\n"));
	else if (code == '\t')
		buf_add(out, SPAN("\t"));
	else
		buf_addf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
}

/* Hidden characters are inside strings: the rest of JSON is ASCII. */
static void
add_in_string(struct buf *out, unsigned code)
{
	buf_addf(out, "\\u%04x", code);
}

void
cli_add_visible(struct buf *out, struct span text)
{
	add_shown(out, text, add_for_terminal);
}

void
cli_escape_json(struct buf *out, size_t from)
{
	struct span text;
	struct buf old;

	if (buf_status(out) != ST_OK)
		return;
	text = span_skip(buf_span(out), from);
	if (past_shown(text) == text.len)
		return;
	buf_init(&old, text.len);
	buf_add(&old, text);
	buf_truncate(out, from);
	buf_note(out, buf_status(&old));
	if (buf_status(out) == ST_OK)
		add_shown(out, buf_span(&old), add_in_string);
	buf_fini(&old);
}

void
cli_add_member(struct buf *out, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	buf_addf(out, ",\"%s\":", name);
	jsontext_add_quoted(out, value);
}
