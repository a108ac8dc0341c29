/* SPDX-License-Identifier: MIT */
/*
 * The configuration: the table, and what works from it: the parser, the
 * environment and the dump.  conf_load reads one file, and names of users are
 * looked up in the system's database; everything else is pure.
 */
#include "conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "name.h"

#define FILE_MAX_BYTES 65536
#define ENV_PREFIX     "WALCAST_"
#define MIB            (INT64_C(1) << 20)
#define YEAR_S         (INT64_C(366) * 86400)
#define MAX_BYTES      (INT64_C(1) << 50)
#define MAX_EVENTS     (INT64_C(1) << 50)

extern char **environ;

/* The value of an enum's member is the index of its word. */
#define WORD(member, word) word,
static const char *const sync_values[] = {CONF_SYNCHRONOUS(WORD) NULL};
static const char *const reject_values[] = {CONF_REJECTS(WORD) NULL};
static const char *const switch_values[] = {CONF_SWITCHES(WORD) NULL};
static const char *const format_values[] = {LOG_FORMATS(WORD) NULL};
static const char *const level_values[] = {LOG_LEVELS(WORD) NULL};
#undef WORD

#define ALL_USERS (CONF_PUBD | CONF_WORKER | CONF_METRICS)

#define MEMBER(name)                                                           \
	.key = #name, .offset = offsetof(struct conf, name),                   \
	.size = sizeof(((struct conf *)0)->name)

const struct conf_row conf_rows[] = {
    {MEMBER(database), .type = CONF_PATH,
	.initial = "/var/lib/walcast/events.db", .unit = "", .users = ALL_USERS,
	.sentence = "The log: a SQLite database made by `walcast init`."},
    {MEMBER(socket), .type = CONF_PATH, .initial = "/run/walcast/pubd.sock",
	.unit = "", .users = ALL_USERS,
	.sentence = "The Unix socket on which pubd takes events."},
    {MEMBER(socket_mode), .type = CONF_MODE, .initial = "0660", .min = 0,
	.max = 0777, .unit = "octal", .users = ALL_USERS,
	.sentence = "Permission bits of the socket: who may publish."},
    {MEMBER(synchronous), .type = CONF_ENUM, .initial = "full",
	.values = sync_values, .unit = "", .users = CONF_PUBD,
	.sentence = "Whether an acknowledged event survives a power loss "
		    "(full), or only a crash of the programs (normal)."},
    {MEMBER(retain_events), .type = CONF_INT, .initial = "1000000", .min = 0,
	.max = MAX_EVENTS, .unit = "events", .users = CONF_PUBD, .reload = true,
	.sentence = "The newest so many events are kept; 0: no limit."},
    {MEMBER(retain_age_s), .type = CONF_INT, .initial = "604800", .min = 0,
	.max = 100 * YEAR_S, .unit = "seconds", .users = CONF_PUBD,
	.reload = true,
	.sentence = "Events older than this are deleted; 0: no limit."},
    {MEMBER(retain_bytes), .type = CONF_INT, .initial = "1073741824", .min = 0,
	.max = MAX_BYTES, .unit = "bytes", .users = CONF_PUBD, .reload = true,
	.sentence = "The oldest events are deleted while the log is larger; "
		    "0: no limit."},
    {MEMBER(max_data_bytes), .type = CONF_INT, .initial = "65536", .min = 1,
	.max = MIB, .unit = "bytes", .users = CONF_PUBD, .reload = true,
	.sentence = "The most data that one event may carry."},
    {MEMBER(max_line_bytes), .type = CONF_INT, .initial = "1048576",
	.min = 1024, .max = 64 * MIB, .unit = "bytes", .users = CONF_PUBD,
	.reload = true,
	.sentence = "The longest line that pubd reads from a publisher."},
    {MEMBER(idle_timeout_s), .type = CONF_INT, .initial = "300", .min = 0,
	.max = YEAR_S, .unit = "seconds", .users = CONF_PUBD, .reload = true,
	.sentence = "A connection to pubd that has not published and is "
		    "silent, or that does not end its line, is closed after "
		    "so long; 0: never."},
    {MEMBER(lock_timeout_ms), .type = CONF_INT, .initial = "5000", .min = 0,
	.max = 600000, .unit = "milliseconds", .users = CONF_PUBD,
	.reload = true,
	.sentence = "How long a commit waits for the log while another "
		    "program has it locked, before it answers `busy`."},
    {MEMBER(publish_rate), .type = CONF_INT, .initial = "0", .min = 0,
	.max = 1000000000, .unit = "events", .users = CONF_PUBD, .reload = true,
	.sentence = "The most events that one user may publish on the socket "
		    "in a second; 0: no limit."},
    {MEMBER(publish_burst), .type = CONF_INT, .initial = "0", .min = 0,
	.max = 1000000000, .unit = "events", .users = CONF_PUBD, .reload = true,
	.sentence = "So many of them may come at once after a rest; 0: as "
		    "many as publish_rate says."},
    {MEMBER(default_channel), .type = CONF_TEXT, .initial = "", .unit = "",
	.users = CONF_WORKER, .reload = true,
	.sentence = "The channels, separated by commas, of a stream that "
		    "names none; empty: such a request is refused."},
    {MEMBER(heartbeat_ms), .type = CONF_INT, .initial = "15000", .min = 50,
	.max = 3600000, .unit = "milliseconds", .users = CONF_WORKER,
	.sentence = "A quiet stream gets a heartbeat this often."},
    {MEMBER(retry_ms), .type = CONF_INT, .initial = "3000", .min = 1,
	.max = 3600000, .unit = "milliseconds",
	.users = CONF_WORKER | CONF_METRICS,
	.sentence = "How long a client waits before it connects again; sent "
		    "with jitter of a quarter either way."},
    {MEMBER(ring_bytes), .type = CONF_INT, .initial = "33554432", .min = 65536,
	.max = 65536 * MIB, .unit = "bytes", .users = CONF_WORKER,
	.sentence = "Memory of a worker for its newest encoded events."},
    {MEMBER(tail_poll_ms), .type = CONF_INT, .initial = "50", .min = 1,
	.max = 10000, .unit = "milliseconds", .users = CONF_WORKER,
	.reload = true,
	.sentence = "How often a worker looks for events that nobody "
		    "announced."},
    {MEMBER(max_streams), .type = CONF_INT, .initial = "20000", .min = 1,
	.max = 10000000, .unit = "streams", .users = CONF_WORKER,
	.reload = true,
	.sentence = "The most streams that one worker process holds."},
    {MEMBER(max_streams_per_address), .type = CONF_INT, .initial = "0",
	.min = 0, .max = 10000000, .unit = "streams", .users = CONF_WORKER,
	.reload = true,
	.sentence = "The most streams of one client address, over all "
		    "workers of one user; 0: no limit."},
    {MEMBER(max_age_s), .type = CONF_INT, .initial = "0", .min = 0,
	.max = YEAR_S, .unit = "seconds", .users = CONF_WORKER, .reload = true,
	.sentence = "A stream ends at about this age and resumes; 0: never."},
    {MEMBER(max_lag_events), .type = CONF_INT, .initial = "0", .min = 0,
	.max = MAX_EVENTS, .unit = "events", .users = CONF_WORKER,
	.sentence = "A stream that is further behind is closed, to resume; "
		    "0: never."},
    {MEMBER(max_lag_s), .type = CONF_INT, .initial = "0", .min = 0,
	.max = YEAR_S, .unit = "seconds", .users = CONF_WORKER,
	.sentence = "A stream that is behind for longer is closed, to "
		    "resume; 0: never."},
    {MEMBER(request_timeout_ms), .type = CONF_INT, .initial = "10000",
	.min = 10, .max = 600000, .unit = "milliseconds",
	.users = CONF_WORKER | CONF_METRICS,
	.sentence = "A request that is not whole by then is dropped."},
    {MEMBER(reject), .type = CONF_ENUM, .initial = "soft",
	.values = reject_values, .unit = "", .users = CONF_WORKER,
	.reload = true,
	.sentence = "How a limit is told: in the stream, so that an "
		    "EventSource comes back (soft), or by 503 and 429 "
		    "(hard)."},
    {MEMBER(drain_ms), .type = CONF_INT, .initial = "5000", .min = 0,
	.max = 600000, .unit = "milliseconds", .users = CONF_WORKER,
	.reload = true,
	.sentence = "Over how long a worker that is told to end spreads the "
		    "closing of its streams."},
    {MEMBER(allow_origin), .type = CONF_TEXT, .initial = "", .unit = "",
	.users = CONF_WORKER | CONF_METRICS, .reload = true,
	.sentence = "Origins whose pages may read streams, or `*` for all; "
		    "empty: the same origin only."},
    {MEMBER(log_format), .type = CONF_ENUM, .initial = "text",
	.values = format_values, .unit = "", .users = ALL_USERS, .reload = true,
	.sentence = "The form of log lines: text, or one JSON object each."},
    {MEMBER(log_level), .type = CONF_ENUM, .initial = "info",
	.values = level_values, .unit = "", .users = ALL_USERS, .reload = true,
	.sentence = "The least weighty lines that are logged."},
    {MEMBER(log_rate), .type = CONF_INT, .initial = "50", .min = 0,
	.max = 1000000, .unit = "lines", .users = ALL_USERS, .reload = true,
	.sentence = "The most log lines in a second, of each kind that a "
		    "peer can cause; 0: all of them."},
    {MEMBER(metrics), .type = CONF_ENUM, .initial = "on",
	.values = switch_values, .unit = "", .users = ALL_USERS,
	.sentence = "Whether processes measure times and report their "
		    "metrics to pubd."},
    {MEMBER(metrics_channels), .type = CONF_TEXT, .initial = "", .unit = "",
	.users = CONF_PUBD, .reload = true,
	.sentence = "Channels whose events are counted by name, at most 32; "
		    "empty: none."},
    {MEMBER(report_users), .type = CONF_TEXT, .initial = "", .unit = "",
	.users = CONF_PUBD, .reload = true,
	.sentence = "Users, by name or number, whose processes may report to "
		    "pubd, besides root and the owner of the log."},
    {MEMBER(beacon), .type = CONF_ENUM, .initial = "off",
	.values = switch_values, .unit = "", .users = CONF_METRICS,
	.reload = true,
	.sentence = "Whether browsers may report what they see, at "
		    "`/sse-metrics.fcgi/beacon`."},
    {MEMBER(beacon_sample), .type = CONF_INT, .initial = "100", .min = 0,
	.max = 100, .unit = "percent", .users = CONF_METRICS, .reload = true,
	.sentence = "How many of the browsers' reports are counted."},
    {MEMBER(beacon_rate), .type = CONF_INT, .initial = "30", .min = 0,
	.max = 1000000, .unit = "reports", .users = CONF_METRICS,
	.reload = true,
	.sentence = "The most reports that one client address may send in a "
		    "minute; 0: no limit."},
    {MEMBER(otlp_endpoint), .type = CONF_TEXT, .initial = "", .unit = "",
	.users = CONF_PUBD,
	.sentence = "Where pubd sends trace spans (OTLP over HTTP, JSON), "
		    "such as `http://127.0.0.1:4318/v1/traces`; empty: "
		    "nowhere."},
    {MEMBER(access), .type = CONF_PATH, .initial = "", .unit = "",
	.users = CONF_PUBD | CONF_WORKER,
	.sentence = "The file of rules that says who may read and publish, "
		    "see access.conf(5); empty: whoever reaches the workers "
		    "reads all, and whoever reaches the socket publishes."},
    {MEMBER(groups), .type = CONF_PATH, .initial = "", .unit = "",
	.users = CONF_PUBD | CONF_WORKER,
	.sentence = "The groups that rules may name: a file in the form of "
		    "htgroup, as Apache's AuthGroupFile."},
    {MEMBER(token_keys), .type = CONF_PATH, .initial = "", .unit = "",
	.users = CONF_WORKER,
	.sentence = "The keys that tokens are checked with: a JWK set, PEM, "
		    "or a secret of at least 32 bytes; empty: no tokens."},
    {MEMBER(token_cookie), .type = CONF_STRING, .initial = "walcast_token",
	.unit = "", .users = CONF_WORKER, .reload = true,
	.sentence = "The cookie that may bring a token."},
    {MEMBER(token_audience), .type = CONF_STRING, .initial = "", .unit = "",
	.users = CONF_WORKER, .reload = true,
	.sentence = "A token must name this in `aud`; empty: it need not."},
    {MEMBER(token_issuer), .type = CONF_STRING, .initial = "", .unit = "",
	.users = CONF_WORKER, .reload = true,
	.sentence = "A token must name this in `iss`; empty: it need not."},
    {MEMBER(authorizer), .type = CONF_STRING, .initial = "", .unit = "",
	.users = CONF_WORKER,
	.sentence = "The application that is asked what a visitor may read, "
		    "such as `fcgi:/run/php/php-fpm.sock:/var/www/auth.php`; "
		    "empty: none."},
    {MEMBER(authorizer_timeout_ms), .type = CONF_INT, .initial = "2000",
	.min = 10, .max = 60000, .unit = "milliseconds", .users = CONF_WORKER,
	.reload = true,
	.sentence = "How long the application may take for its answer."},
    {MEMBER(authorizer_age_s), .type = CONF_INT, .initial = "60", .min = 0,
	.max = 86400, .unit = "seconds", .users = CONF_WORKER, .reload = true,
	.sentence = "How long an answer of the application holds that does "
		    "not say it."},
    {MEMBER(authorizer_max), .type = CONF_INT, .initial = "8", .min = 1,
	.max = 1024, .unit = "questions", .users = CONF_WORKER, .reload = true,
	.sentence = "How many questions a worker puts to the application at "
		    "once."},
    {.key = NULL},
};

/* ---- values -------------------------------------------------------------- */

static int64_t *
int_member(struct conf *c, const struct conf_row *row)
{
	return (int64_t *)(void *)((char *)c + row->offset);
}

static char *
text_member(struct conf *c, const struct conf_row *row)
{
	return (char *)c + row->offset;
}

/* A span in a message, cut to leave room for the rest of the sentence. */
#define SHOWN(s) (int)((s).len > 80 ? 80 : (s).len), (s).p == NULL ? "" : (s).p

/*
 * A URL, or a line that may hold one, with *** in place of what could be
 * secret: user, password and query.  Where they cannot be told apart,
 * everything after the scheme is hidden.
 */
struct concealed {
	char text[1100]; /* any value, and some more */
};

static struct span
conceal(struct concealed *out, struct span s)
{
	const char *query = span_find(s, '?'), *at, *scheme;
	size_t begin, end = query == NULL ? s.len : (size_t)(query - s.p);

	if (s.len == 0)
		return SPAN("");
	at = memrchr(s.p, '@', s.len);
	scheme = memmem(s.p, s.len, "://", 3);
	begin = scheme == NULL ? 0 : (size_t)(scheme - s.p) + 3;
	if (at != NULL && (query == NULL || at < query) && at >= s.p + begin)
		(void)snprintf(out->text, sizeof(out->text), "%.*s***%.*s%s",
		    (int)begin, s.p, (int)(s.p + end - at), at,
		    query == NULL ? "" : "?***");
	else if (at != NULL)
		(void)snprintf(out->text, sizeof(out->text), "%.*s***",
		    at < s.p + begin ? 0 : (int)begin, s.p);
	else
		(void)snprintf(out->text, sizeof(out->text), "%.*s%s", (int)end,
		    s.p, query == NULL ? "" : "?***");
	return span_str(out->text);
}

static bool
octal(struct span s, int64_t *out)
{
	int64_t v = 0;
	size_t i;

	if (s.len == 0 || s.len > 8)
		return false;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '7')
			return false;
		v = v * 8 + (s.p[i] - '0');
	}
	*out = v;
	return true;
}

static enum status
set_int(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	bool mode = row->type == CONF_MODE;
	int64_t v;

	if (mode ? octal(value, &v) : span_to_int64(value, &v)) {
		if (v >= row->min && v <= row->max) {
			*int_member(c, row) = v;
			return ST_OK;
		}
	}
	if (mode)
		errmsg_set(err,
		    "%s: \"%.*s\" is not an octal mode of 0 to 0%" PRIo64,
		    row->key, SHOWN(value), (uint64_t)row->max);
	else
		errmsg_set(err,
		    "%s: \"%.*s\" is not a number of %s from %" PRId64
		    " to %" PRId64,
		    row->key, SHOWN(value), row->unit, row->min, row->max);
	return ST_INVALID;
}

static enum status
set_enum(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	char list[128] = "";
	size_t n = 0;
	int i;

	for (i = 0; row->values[i] != NULL; i++) {
		if (span_eq(value, span_str(row->values[i]))) {
			*int_member(c, row) = i;
			return ST_OK;
		}
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
		    i == 0 ? "" : ", ", row->values[i]);
		assert(n < sizeof(list));
	}
	errmsg_set(err, "%s: \"%.*s\" is none of: %s", row->key, SHOWN(value),
	    list);
	return ST_INVALID;
}

/* A comment begins with a # at the start or after white space. */
static struct span
without_comment(struct span line)
{
	size_t i;

	for (i = 0; i < line.len; i++)
		if (line.p[i] == '#' &&
		    (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return span_of(line.p, i);
	return line;
}

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static enum status
set_string(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	if (value.len >= row->size) {
		errmsg_set(err, "%s: it may have %zu bytes, not %zu", row->key,
		    row->size - 1, value.len);
		return ST_INVALID;
	}
	if (value.len > 0)
		memcpy(text_member(c, row), value.p, value.len);
	text_member(c, row)[value.len] = '\0';
	return ST_OK;
}

static enum status
set_path(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	if (value.len == 0 && row->initial[0] != '\0') {
		errmsg_set(err, "%s: a path is missing", row->key);
		return ST_INVALID;
	}
	if (without_comment(value).len != value.len) {
		errmsg_set(err, "%s: a # here would begin a comment", row->key);
		return ST_INVALID;
	}
	if (value.len >= row->size) {
		errmsg_set(err, "%s: a path may have %zu bytes, not %zu",
		    row->key, row->size - 1, value.len);
		return ST_INVALID;
	}
	return set_string(c, row, value, err);
}

/* scheme://host or scheme://host:port, as a browser writes it. */
static bool
origin_ok(struct span s)
{
	static const char host_bytes[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
	const char *sep = memmem(s.p, s.len, "://", 3);
	size_t i;

	if (sep == NULL || sep == s.p || s.p[0] < 'a' || s.p[0] > 'z')
		return false;
	for (i = 1; s.p + i < sep; i++)
		if (memchr("abcdefghijklmnopqrstuvwxyz0123456789+.-", s.p[i],
			39) == NULL)
			return false;
	s = span_skip(s, (size_t)(sep - s.p) + 3);
	if (s.len == 0 || s.p[0] == ':')
		return false;
	for (i = 0; i < s.len; i++)
		if (memchr(host_bytes, s.p[i], sizeof(host_bytes) - 1) == NULL)
			return false;
	return true;
}

/* What a list is made of; in a file, commas or spaces separate it. */
struct list_rule {
	char joined_by; /* in struct conf */
	int max_parts;
	bool (*part_ok)(struct span part);
	const char *should_be;
};

static const struct list_rule channel_list = {
    .joined_by = ',',
    .max_parts = 64,
    .part_ok = name_pattern_ok,
    .should_be = "a channel, or the beginning of one and *",
};

static const struct list_rule counted_list = {
    .joined_by = ',',
    .max_parts = 32,
    .part_ok = name_channel_ok,
    .should_be = "the name of a channel",
};

static const struct list_rule origin_list = {
    .joined_by = ' ',
    .max_parts = INT_MAX,
    .part_ok = origin_ok,
    .should_be = "an origin such as https://example.org (lower case, no "
		 "path); * must stand alone",
};

/* Cuts the next non-empty part off the front; false: none is left. */
static bool
next_part(struct span *rest, struct span *part)
{
	size_t n = 0;

	while (rest->len > 0 && (rest->p[0] == ',' || rest->p[0] == ' '))
		*rest = span_skip(*rest, 1);
	while (n < rest->len && rest->p[n] != ',' && rest->p[n] != ' ')
		n++;
	*part = span_of(rest->p, n);
	*rest = span_skip(*rest, n);
	return n > 0;
}

static enum status
set_list(struct conf *c, const struct conf_row *row, struct span value,
    const struct list_rule *rule, struct errmsg *err)
{
	char *out = text_member(c, row);
	struct span part;
	size_t n = 0;
	int n_parts = 0;

	while (next_part(&value, &part)) {
		if (!rule->part_ok(part)) {
			errmsg_set(err, "%s: \"%.*s\" is not %s", row->key,
			    SHOWN(part), rule->should_be);
			return ST_INVALID;
		}
		if (part.len + 1 >= row->size - n ||
		    ++n_parts > rule->max_parts) {
			errmsg_set(err, "%s: too long a list", row->key);
			return ST_INVALID;
		}
		if (n > 0)
			out[n++] = rule->joined_by;
		memcpy(out + n, part.p, part.len);
		n += part.len;
	}
	out[n] = '\0';
	return ST_OK;
}

/* ST_INVALID: there is no user of this name or number. */
static enum status
find_user(struct span name, int64_t *uid)
{
	const struct passwd *pw;
	char text[64];

	if (span_to_int64(name, uid))
		return *uid < UINT32_MAX ? ST_OK : ST_INVALID;
	if (name.len >= sizeof(text))
		return ST_INVALID;
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	pw = getpwnam(text);
	if (pw == NULL)
		return ST_INVALID;
	*uid = (int64_t)pw->pw_uid;
	return ST_OK;
}

/* Users are kept as numbers, so that no name has to be looked up later. */
static enum status
set_users(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	char *out = text_member(c, row);
	struct span part;
	int64_t uid = 0;
	size_t n = 0;

	out[0] = '\0';
	while (next_part(&value, &part)) {
		if (find_user(part, &uid) != ST_OK) {
			errmsg_set(err,
			    "%s: there is no user \"%.*s\" on this host: "
			    "write a name that it has, or a number",
			    row->key, SHOWN(part));
			return ST_INVALID;
		}
		n += (size_t)snprintf(out + n, row->size - n, "%s%" PRId64,
		    n == 0 ? "" : " ", uid);
		if (n >= row->size) {
			errmsg_set(err, "%s: too long a list", row->key);
			return ST_INVALID;
		}
	}
	return ST_OK;
}

/* http://HOST... or https://HOST..., without white space. */
static enum status
set_url(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	char *out = text_member(c, row);
	struct concealed shown;
	size_t n = 0;

	if (value.len > 7 && memcmp(value.p, "http://", 7) == 0)
		n = 7;
	else if (value.len > 8 && memcmp(value.p, "https://", 8) == 0)
		n = 8;
	if (value.len > 0 &&
	    (n == 0 || memchr(value.p, ' ', value.len) != NULL)) {
		struct span said = conceal(&shown, value);

		errmsg_set(err,
		    "%s: \"%.*s\" is not a URL that begins with http:// or "
		    "https://",
		    row->key, SHOWN(said));
		return ST_INVALID;
	}
	if (value.len >= row->size) {
		errmsg_set(err, "%s: a URL may have %zu bytes, not %zu",
		    row->key, row->size - 1, value.len);
		return ST_INVALID;
	}
	if (value.len > 0)
		memcpy(out, value.p, value.len);
	out[value.len] = '\0';
	return ST_OK;
}

static enum status
set_text(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	if (row->offset == offsetof(struct conf, default_channel))
		return set_list(c, row, value, &channel_list, err);
	if (row->offset == offsetof(struct conf, metrics_channels))
		return set_list(c, row, value, &counted_list, err);
	if (row->offset == offsetof(struct conf, report_users))
		return set_users(c, row, value, err);
	if (row->offset == offsetof(struct conf, otlp_endpoint))
		return set_url(c, row, value, err);
	assert(row->offset == offsetof(struct conf, allow_origin));
	if (!span_eq(value, SPAN("*")))
		return set_list(c, row, value, &origin_list, err);
	memcpy(c->allow_origin, "*", 2);
	return ST_OK;
}

/* *c may be half set when this fails: callers work on a copy. */
static enum status
set_value(struct conf *c, const struct conf_row *row, struct span value,
    struct errmsg *err)
{
	size_t i;

	for (i = 0; i < value.len; i++)
		if (is_control(value.p[i])) {
			errmsg_set(err, "%s: a control character (0x%02x)",
			    row->key, (unsigned char)value.p[i]);
			return ST_INVALID;
		}
	switch (row->type) {
	case CONF_INT:
	case CONF_MODE:
		return set_int(c, row, value, err);
	case CONF_ENUM:
		return set_enum(c, row, value, err);
	case CONF_PATH:
		return set_path(c, row, value, err);
	case CONF_STRING:
		return set_string(c, row, value, err);
	case CONF_TEXT:
		break;
	}
	return set_text(c, row, value, err);
}

void
conf_defaults(struct conf *c)
{
	const struct conf_row *row;
	enum status st;

	memset(c, 0, sizeof(*c));
	for (row = conf_rows; row->key != NULL; row++) {
		st = set_value(c, row, span_str(row->initial), NULL);
		assert(st == ST_OK);
		(void)st;
	}
}

/* ---- the file ------------------------------------------------------------ */

struct parse {
	struct conf conf; /* becomes the caller's when all is well */
	const char *name;
	int line;
	int seen[sizeof(conf_rows) / sizeof(conf_rows[0])]; /* line, or 0 */
};

static const struct conf_row *
find_row(struct span key)
{
	const struct conf_row *row;

	for (row = conf_rows; row->key != NULL; row++)
		if (span_eq(key, span_str(row->key)))
			return row;
	return NULL;
}

static enum status
parse_line(struct parse *ps, struct span line, struct errmsg *why)
{
	const struct conf_row *row;
	struct concealed shown;
	struct span key;

	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	line = span_trim(without_comment(line));
	if (line.len == 0)
		return ST_OK;
	if (memchr(line.p, '=', line.len) == NULL) {
		struct span said = conceal(&shown, line);

		errmsg_set(why, "\"%.*s\" is not of the form key = value",
		    SHOWN(said));
		return ST_INVALID;
	}
	(void)span_cut(&line, '=', &key);
	key = span_trim(key);
	row = find_row(key);
	if (row == NULL) {
		errmsg_set(why, "there is no key \"%.*s\"", SHOWN(key));
		return ST_INVALID;
	}
	if (ps->seen[row - conf_rows] != 0) {
		errmsg_set(why, "%s was set on line %d already", row->key,
		    ps->seen[row - conf_rows]);
		return ST_INVALID;
	}
	ps->seen[row - conf_rows] = ps->line;
	return set_value(&ps->conf, row, span_trim(line), why);
}

enum status
conf_parse(struct conf *c, struct span text, const char *name,
    struct errmsg *err)
{
	struct parse ps = {.conf = *c, .name = name};
	struct errmsg why = {""};
	struct span line;

	if (span_starts(text, SPAN("\xef\xbb\xbf")))
		text = span_skip(text, 3); /* some editors' byte order mark */
	while (span_cut(&text, '\n', &line)) {
		ps.line++;
		if (parse_line(&ps, line, &why) != ST_OK) {
			errmsg_set(err, "%.200s:%d: %s", name, ps.line,
			    why.text);
			return ST_INVALID;
		}
	}
	*c = ps.conf;
	return ST_OK;
}

/* ---- the environment ----------------------------------------------------- */

/* True, with what follows the '=', when the variable sets this key. */
static bool
sets_key(const char *variable, const char *key, struct span *value)
{
	const char *p;

	if (strncmp(variable, ENV_PREFIX, sizeof(ENV_PREFIX) - 1) != 0)
		return false;
	p = variable + sizeof(ENV_PREFIX) - 1;
	for (; *key != '\0'; key++, p++)
		if (*p != toupper((unsigned char)*key))
			return false;
	if (*p != '=')
		return false;
	*value = span_trim(span_str(p + 1));
	return true;
}

/*
 * In a CGI program's environment, WALCAST_MAX_STREAMS is the cap of its
 * location: a parameter of the request, not a setting of ours.
 */
static bool
is_request_parameter(const struct conf_row *row, char *const *env)
{
	if (row->offset != offsetof(struct conf, max_streams))
		return false;
	for (; *env != NULL; env++)
		if (strncmp(*env, "GATEWAY_INTERFACE=", 18) == 0)
			return true;
	return false;
}

enum status
conf_environment(struct conf *c, char *const *env, struct errmsg *err)
{
	struct conf copy = *c;
	struct errmsg why = {""};
	const struct conf_row *row;
	struct span value;
	char *const *e;

	for (row = conf_rows; row->key != NULL; row++)
		for (e = env; *e != NULL; e++) {
			if (!sets_key(*e, row->key, &value) ||
			    is_request_parameter(row, env))
				continue;
			if (set_value(&copy, row, value, &why) != ST_OK) {
				errmsg_set(err, "environment, %.*s: %s",
				    (int)strcspn(*e, "="), *e, why.text);
				return ST_INVALID;
			}
		}
	*c = copy;
	return ST_OK;
}

/* ---- all of it ----------------------------------------------------------- */

static enum status
read_all(FILE *f, struct buf *text, const char *path, struct errmsg *err)
{
	size_t n;

	if (buf_reserve(text, FILE_MAX_BYTES) != ST_OK) {
		errmsg_set(err, "%s: out of memory", path);
		return ST_IO;
	}
	n = fread(buf_tail(text), 1, FILE_MAX_BYTES, f);
	buf_grew(text, n);
	if (ferror(f)) {
		errmsg_set(err, "cannot read %s: %s", path, strerror(errno));
		return ST_IO;
	}
	if (n == FILE_MAX_BYTES) {
		errmsg_set(err, "%s: longer than %d bytes", path,
		    FILE_MAX_BYTES - 1);
		return ST_INVALID;
	}
	return ST_OK;
}

/* Reads the file over *c.  A file that nobody named may be missing. */
static enum status
load_file(struct conf *c, const char *path, bool named, struct errmsg *err)
{
	FILE *f = fopen(path, "re");
	struct buf text;
	enum status st;

	if (f == NULL) {
		if (errno == ENOENT && !named)
			return ST_OK;
		errmsg_set(err, "cannot read the configuration %s: %s", path,
		    strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? ST_NOTFOUND
							   : ST_IO;
	}
	buf_init(&text, FILE_MAX_BYTES);
	st = read_all(f, &text, path, err);
	if (st == ST_OK)
		st = conf_parse(c, buf_span(&text), path, err);
	buf_fini(&text);
	(void)fclose(f);
	return st;
}

/* NULL: nobody has named a file. */
static const char *
named_file(const char *path)
{
	if (path == NULL)
		path = getenv("WALCAST_CONF");
	return path == NULL || path[0] == '\0' ? NULL : path;
}

const char *
conf_file(const char *path)
{
	const char *named = named_file(path);

	return named == NULL ? CONF_DEFAULT_PATH : named;
}

enum status
conf_load(struct conf *c, const char *path, struct errmsg *err)
{
	struct conf loaded;
	enum status st;

	conf_defaults(&loaded);
	st = load_file(&loaded, conf_file(path), named_file(path) != NULL, err);
	if (st == ST_OK)
		st = conf_environment(&loaded, environ, err);
	if (st == ST_OK)
		*c = loaded;
	return st;
}

/* ---- while running ------------------------------------------------------- */

/* Texts are compared as strings: remains of a longer one may follow the end. */
static bool
is_same(const struct conf_row *row, const char *a, const char *b)
{
	if (row->type == CONF_TEXT || row->type == CONF_STRING ||
	    row->type == CONF_PATH)
		return strcmp(a, b) == 0;
	return memcmp(a, b, row->size) == 0;
}

/* Does this user of the key see another value in *fresh? */
static bool
has_changed(const struct conf_row *row, const struct conf *now,
    const struct conf *fresh, enum conf_user user)
{
	return (row->users & user) != 0 &&
	    !is_same(row, (const char *)now + row->offset,
		(const char *)fresh + row->offset);
}

void
conf_merge(struct conf *now, const struct conf *fresh, enum conf_user user)
{
	const struct conf_row *row;

	for (row = conf_rows; row->key != NULL; row++)
		if (row->reload && has_changed(row, now, fresh, user))
			memcpy((char *)now + row->offset,
			    (const char *)fresh + row->offset, row->size);
}

const struct conf_row *
conf_unmerged(const struct conf *now, const struct conf *fresh,
    enum conf_user user, const struct conf_row *after)
{
	const struct conf_row *row = after == NULL ? conf_rows : after + 1;

	while (row->key != NULL && !has_changed(row, now, fresh, user))
		row++;
	return row->key == NULL ? NULL : row;
}

/* ---- printing ------------------------------------------------------------ */

/* Prints a text without its secrets: people send each other the dump. */
static void
dump_text(const struct conf_row *row, const char *text, FILE *out)
{
	struct concealed shown;
	struct span s = span_str(text);

	if (row->offset == offsetof(struct conf, otlp_endpoint))
		s = conceal(&shown, s);
	(void)fprintf(out, "%.*s\n", (int)s.len, s.p);
}

void
conf_dump(const struct conf *c, FILE *out)
{
	const struct conf_row *row;

	for (row = conf_rows; row->key != NULL; row++) {
		const void *member = (const char *)c + row->offset;

		(void)fprintf(out, "%s = ", row->key);
		switch (row->type) {
		case CONF_INT:
			(void)fprintf(out, "%" PRId64 "\n",
			    *(const int64_t *)member);
			break;
		case CONF_MODE:
			(void)fprintf(out, "%04" PRIo64 "\n",
			    (uint64_t) * (const int64_t *)member);
			break;
		case CONF_ENUM:
			(void)fprintf(out, "%s\n",
			    row->values[*(const int64_t *)member]);
			break;
		case CONF_TEXT:
		case CONF_STRING:
		case CONF_PATH:
			dump_text(row, member, out);
			break;
		}
	}
}
