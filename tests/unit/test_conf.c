/* SPDX-License-Identifier: MIT */
#include "conf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "tmpdir.h"
#include "unit.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static struct conf
parsed(struct span text)
{
	struct errmsg err = {""};
	struct conf c;

	conf_defaults(&c);
	if (conf_parse(&c, text, "f", &err) != ST_OK)
		fail_msg("%s", err.text);
	return c;
}

/* The text is refused, *c stays as it was, and the message is this one. */
static void
assert_refused(struct span text, const char *message)
{
	struct errmsg err = {""};
	struct conf c, before;

	conf_defaults(&c);
	before = c;
	assert_status(conf_parse(&c, text, "f", &err), ST_INVALID);
	assert_memory_equal(&c, &before, sizeof(c));
	if (strncmp(err.text, message, strlen(message)) != 0)
		fail_msg("\"%s\" does not begin \"%s\"", err.text, message);
}

static enum status
environment(struct conf *c, const char *const *env, struct errmsg *err)
{
	return conf_environment(c, (char *const *)(uintptr_t)env, err);
}

static void
defaults_are_those_of_the_manual(void **state)
{
	struct conf c;

	(void)state;
	conf_defaults(&c);
	assert_string_equal(c.database, "/var/lib/walcast/events.db");
	assert_string_equal(c.socket, "/run/walcast/pubd.sock");
	assert_int_equal(c.socket_mode, 0660);
	assert_int_equal(c.synchronous, CONF_SYNC_FULL);
	assert_int_equal(c.retain_events, 1000000);
	assert_int_equal(c.retain_age_s, 604800);
	assert_int_equal(c.retain_bytes, 1073741824);
	assert_int_equal(c.max_data_bytes, 65536);
	assert_int_equal(c.max_line_bytes, 1048576);
	assert_string_equal(c.default_channel, "");
	assert_string_equal(c.allow_origin, "");
	assert_int_equal(c.heartbeat_ms, 15000);
	assert_int_equal(c.retry_ms, 3000);
	assert_int_equal(c.ring_bytes, 33554432);
	assert_int_equal(c.tail_poll_ms, 50);
	assert_int_equal(c.max_streams, 20000);
	assert_int_equal(c.max_streams_per_address, 0);
	assert_int_equal(c.max_age_s, 0);
	assert_int_equal(c.reject, CONF_REJECT_SOFT);
	assert_int_equal(c.drain_ms, 5000);
	assert_int_equal(c.log_format, LOG_TEXT);
	assert_int_equal(c.log_level, LOG_INFO_);
	assert_int_equal(c.lock_timeout_ms, 5000);
	assert_int_equal(c.max_lag_events, 0);
	assert_int_equal(c.max_lag_s, 0);
	assert_int_equal(c.request_timeout_ms, 10000);
	assert_int_equal(c.log_rate, 50);
	assert_int_equal(c.metrics, CONF_ON);
	assert_string_equal(c.metrics_channels, "");
	assert_int_equal(c.beacon, CONF_OFF);
	assert_int_equal(c.beacon_sample, 100);
	assert_int_equal(c.beacon_rate, 30);
	assert_string_equal(c.otlp_endpoint, "");
}

/* Every byte of the struct that is no text belongs to exactly one row. */
static void
the_table_covers_the_struct(void **state)
{
	unsigned char seen[sizeof(struct conf)] = {0};
	const struct conf_row *row;
	size_t i;

	(void)state;
	for (row = conf_rows; row->key != NULL; row++) {
		bool text = row->type == CONF_TEXT ||
		    row->type == CONF_STRING || row->type == CONF_PATH;

		for (i = 0; i < row->size; i++)
			seen[row->offset + i]++;
		if (!text)
			assert_int_equal(row->size, sizeof(int64_t));
		assert_int_equal(row->type == CONF_ENUM, row->values != NULL);
		if (row->type == CONF_INT)
			assert_true(row->max > row->min);
		assert_non_null(row->unit);
		assert_true(row->sentence[strlen(row->sentence) - 1] == '.');
		assert_true(row->users != 0); /* else nobody reads it */
	}
	for (i = 0; i < sizeof(seen); i++)
		assert_int_equal(seen[i], 1);
}

static void
lines_may_have_blanks_and_comments(void **state)
{
	struct conf c = parsed(SPAN("# walcast.conf\n"
				    "\n"
				    "  heartbeat_ms=200\n"
				    "\tretry_ms\t=\t300 # jittered\n"
				    "socket = run/a# b.sock\t# tab\r\n"
				    "default_channel =   \n"
				    "drain_ms = 7"));

	(void)state;
	assert_int_equal(c.heartbeat_ms, 200);
	assert_int_equal(c.retry_ms, 300);
	assert_string_equal(c.socket, "run/a# b.sock");
	assert_string_equal(c.default_channel, "");
	assert_int_equal(c.drain_ms, 7);
	assert_int_equal(c.max_streams, 20000);
	(void)parsed(SPAN(""));
	(void)parsed(SPAN_NONE);
}

static void
each_type_of_value_is_read(void **state)
{
	struct conf c = parsed(SPAN("socket_mode = 600\n"
				    "synchronous = normal\n"
				    "reject = hard\n"
				    "log_format = json\n"
				    "log_level = debug\n"
				    "max_data_bytes = 1\n"
				    "max_line_bytes = 67108864\n"
				    "retain_age_s = 3162240000\n"
				    "retain_events = 0\n"
				    "metrics = off\n"
				    "beacon = on\n"
				    "beacon_sample = 0\n"
				    "log_rate = 0\n"));

	(void)state;
	assert_int_equal(c.socket_mode, 0600);
	assert_int_equal(c.synchronous, CONF_SYNC_NORMAL);
	assert_int_equal(c.reject, CONF_REJECT_HARD);
	assert_int_equal(c.log_format, LOG_JSON);
	assert_int_equal(c.log_level, LOG_DEBUG_);
	assert_int_equal(c.max_data_bytes, 1);
	assert_int_equal(c.retain_events, 0);
	assert_int_equal(c.metrics, CONF_OFF);
	assert_int_equal(c.beacon, CONF_ON);
	assert_int_equal(c.beacon_sample, 0);
	assert_int_equal(c.log_rate, 0);
}

/* Written out once more: this is the interface. */
static void
each_word_means_its_own_value(void **state)
{
	static const struct {
		const char *line;
		size_t offset;
		int64_t value;
	} rows[] = {
#define ROW(text, key, member) {(text), offsetof(struct conf, key), (member)}
	    ROW("synchronous = full", synchronous, CONF_SYNC_FULL),
	    ROW("synchronous = normal", synchronous, CONF_SYNC_NORMAL),
	    ROW("reject = soft", reject, CONF_REJECT_SOFT),
	    ROW("reject = hard", reject, CONF_REJECT_HARD),
	    ROW("metrics = off", metrics, CONF_OFF),
	    ROW("metrics = on", metrics, CONF_ON),
	    ROW("beacon = off", beacon, CONF_OFF),
	    ROW("beacon = on", beacon, CONF_ON),
	    ROW("log_format = text", log_format, LOG_TEXT),
	    ROW("log_format = json", log_format, LOG_JSON),
	    ROW("log_level = error", log_level, LOG_ERROR_),
	    ROW("log_level = warning", log_level, LOG_WARN_),
	    ROW("log_level = info", log_level, LOG_INFO_),
	    ROW("log_level = debug", log_level, LOG_DEBUG_),
	};
	const struct conf_row *row;
	size_t i, n_words = 0;

	(void)state;
	for (i = 0; i < N_OF(rows); i++) {
		struct conf c = parsed(span_str(rows[i].line));

		assert_int_equal(
		    *(const int64_t *)(const void *)((const char *)&c +
			rows[i].offset),
		    rows[i].value);
	}
	for (row = conf_rows; row->key != NULL; row++)
		for (i = 0; row->values != NULL && row->values[i] != NULL; i++)
			n_words++;
	assert_int_equal(n_words, N_OF(rows)); /* a word more: a line more */
}

static void
errors_name_file_line_key_and_what_is_allowed(void **state)
{
	(void)state;
	assert_refused(SPAN("\n\nheartbeat_ms = soon\n"),
	    "f:3: heartbeat_ms: \"soon\" is not a number of milliseconds from "
	    "50 to 3600000");
	assert_refused(SPAN("max_data_bytes = 0"),
	    "f:1: max_data_bytes: \"0\"");
	assert_refused(SPAN("max_data_bytes = 1048577"),
	    "f:1: max_data_bytes: \"1048577\" is not a number of bytes from 1 "
	    "to 1048576");
	assert_refused(SPAN("max_streams = -1"), "f:1: max_streams: \"-1\"");
	assert_refused(SPAN("max_streams ="), "f:1: max_streams: \"\"");
	assert_refused(SPAN("synchronous = Full"),
	    "f:1: synchronous: \"Full\" is none of: full, normal");
	assert_refused(SPAN("socket_mode = 0680"),
	    "f:1: socket_mode: \"0680\" is not an octal mode of 0 to 0777");
	assert_refused(SPAN("socket_mode = 1777"), "f:1: socket_mode");
	assert_refused(SPAN("socket_mode ="), "f:1: socket_mode");
	assert_refused(SPAN("socket_mode = 10000000000000000000660"),
	    "f:1: socket_mode");
	assert_refused(SPAN("hearbeat_ms = 1"),
	    "f:1: there is no key \"hearbeat_ms\"");
	assert_refused(SPAN("drain_ms = 1\nretry_ms\n"),
	    "f:2: \"retry_ms\" is not of the form key = value");
	assert_refused(SPAN("= 1"), "f:1: there is no key \"\"");
	assert_refused(SPAN("database ="), "f:1: database: a path is missing");
	assert_refused(SPAN("database =#x"), "f:1: database: a #");
	assert_refused(SPAN("database = a\0b"), "f:1: database: a control");
	assert_refused(SPAN("metrics = yes"),
	    "f:1: metrics: \"yes\" is none of: off, on");
	assert_refused(SPAN("beacon = 1"), "f:1: beacon: \"1\" is none of");
	assert_refused(SPAN("beacon_sample = 101"),
	    "f:1: beacon_sample: \"101\" is not a number of percent from 0 to "
	    "100");
	assert_refused(SPAN("beacon_rate = -1"), "f:1: beacon_rate: \"-1\"");
	assert_refused(SPAN("log_rate = 1000001"),
	    "f:1: log_rate: \"1000001\"");
}

static void
a_key_may_stand_once(void **state)
{
	(void)state;
	assert_refused(SPAN("drain_ms = 1\nretry_ms = 2\ndrain_ms = 3\n"),
	    "f:3: drain_ms was set on line 1 already");
}

static void
a_path_has_room_for_255_bytes(void **state)
{
	char text[300] = "database = ";
	struct conf c;

	(void)state;
	memset(text + 11, 'x', 256);
	c = parsed(span_of(text, 11 + 255));
	assert_int_equal(strlen(c.database), 255);
	assert_refused(span_of(text, 11 + 256),
	    "f:1: database: a path may have 255 bytes, not 256");
}

static void
default_channels_are_patterns(void **state)
{
	(void)state;
	assert_string_equal(
	    parsed(SPAN("default_channel = news, orders.*,*")).default_channel,
	    "news,orders.*,*");
	assert_refused(SPAN("default_channel = ne\xc3\xa4ws"),
	    "f:1: default_channel: \"ne\xc3\xa4ws\" is not a channel");
	assert_refused(SPAN("default_channel = a,*b"),
	    "f:1: default_channel: \"*b\"");
}

/* Their names become labels: a pattern would name any number of them. */
static void
counted_channels_are_names(void **state)
{
	static char text[300] = "metrics_channels = ";
	size_t n = strlen(text), i;

	(void)state;
	assert_string_equal(parsed(SPAN("metrics_channels = a.b, news  orders"))
				.metrics_channels,
	    "a.b,news,orders");
	assert_refused(SPAN("metrics_channels = news,orders.*"),
	    "f:1: metrics_channels: \"orders.*\" is not the name of a channel");
	assert_refused(SPAN("metrics_channels = *"),
	    "f:1: metrics_channels: \"*\"");
	assert_refused(SPAN("metrics_channels = a\"b"),
	    "f:1: metrics_channels: \"a\"b\"");
	for (i = 0; i < 33; i++)
		memcpy(text + n + 2 * i, "a,", 2);
	(void)parsed(span_of(text, n + 2 * 32));
	assert_refused(span_of(text, n + 2 * 33),
	    "f:1: metrics_channels: too long a list");
}

static void
users_are_names_of_this_host_or_numbers(void **state)
{
	static char text[400] = "report_users =";
	size_t n = strlen(text), i;

	(void)state;
	assert_string_equal(
	    parsed(SPAN("report_users = root, 33  4294967294")).report_users,
	    "0 33 4294967294");
	assert_string_equal(parsed(SPAN("report_users =")).report_users, "");
	assert_refused(SPAN("\nreport_users = root no-such-user"),
	    "f:2: report_users: there is no user \"no-such-user\" on this "
	    "host: write a name that it has, or a number");
	assert_refused(SPAN("report_users = 4294967295"),
	    "f:1: report_users: there is no user \"4294967295\"");
	assert_refused(SPAN("report_users = *"),
	    "f:1: report_users: there is no user \"*\"");
	assert_refused(SPAN("report_users = -1"),
	    "f:1: report_users: there is no user \"-1\"");
	for (i = 0; i < 100; i++)
		memcpy(text + n + 3 * i, " 33", 3);
	assert_refused(span_of(text, n + 300),
	    "f:1: report_users: too long a list");
}

static void
an_endpoint_is_a_url(void **state)
{
	const struct span bad[] = {SPAN("otlp_endpoint = 127.0.0.1:4318"),
	    SPAN("otlp_endpoint = http://"), SPAN("otlp_endpoint = https://"),
	    SPAN("otlp_endpoint = ftp://a"), SPAN("otlp_endpoint = HTTP://a"),
	    SPAN("otlp_endpoint = file:///etc/passwd"),
	    SPAN("otlp_endpoint = http://a b"),
	    SPAN("otlp_endpoint = http:/a")};
	static char text[1100] = "otlp_endpoint = http://";
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(bad); i++)
		assert_refused(bad[i], "f:1: otlp_endpoint: \"");
	assert_string_equal(
	    parsed(SPAN("otlp_endpoint = http://127.0.0.1:4318/v1/traces # x"))
		.otlp_endpoint,
	    "http://127.0.0.1:4318/v1/traces");
	assert_string_equal(
	    parsed(SPAN("otlp_endpoint = https://c")).otlp_endpoint,
	    "https://c");
	assert_string_equal(parsed(SPAN("otlp_endpoint =")).otlp_endpoint, "");
	memset(text + 23, 'x', 1024);
	assert_int_equal(strlen(parsed(span_of(text, 16 + 1023)).otlp_endpoint),
	    1023);
	assert_refused(span_of(text, 16 + 1024),
	    "f:1: otlp_endpoint: a URL may have 1023 bytes, not 1024");
}

static void
lists_are_bounded(void **state)
{
	static char text[2000] = "default_channel = ";
	size_t n = strlen(text), i;

	(void)state;
	for (i = 0; i < 65; i++)
		memcpy(text + n + 2 * i, "a,", 2);
	(void)parsed(span_of(text, n + 2 * 64));
	assert_refused(span_of(text, n + 2 * 65),
	    "f:1: default_channel: too long a list");
	memset(text + n, 'b', 100);
	text[n + 100] = ',';
	memset(text + n + 101, 'b', 100);
	text[n + 201] = ',';
	memset(text + n + 202, 'b', 53);
	assert_int_equal(strlen(parsed(span_of(text, n + 255)).default_channel),
	    255);
	text[n + 255] = 'b';
	assert_refused(span_of(text, n + 256),
	    "f:1: default_channel: too long a list");
}

static void
origins_are_exact_or_a_star(void **state)
{
	const struct span bad[] = {SPAN("allow_origin = example.org"),
	    SPAN("allow_origin = https://example.org/"),
	    SPAN("allow_origin = https://Example.org"),
	    SPAN("allow_origin = https://"), SPAN("allow_origin = ://a"),
	    SPAN("allow_origin = https://*.example.org"),
	    SPAN("allow_origin = https://a *"), SPAN("allow_origin = null"),
	    SPAN("allow_origin = https://a@b"),
	    SPAN("allow_origin = https://:80"),
	    SPAN("allow_origin = 1http://a"), SPAN("allow_origin = {://a"),
	    SPAN("allow_origin = ht_tp://a"),
	    SPAN("allow_origin = https://a\xc3\xa4")};
	size_t i;

	(void)state;
	assert_string_equal(parsed(SPAN("allow_origin = *")).allow_origin, "*");
	assert_string_equal(
	    parsed(SPAN("allow_origin = https://a.example:8443,  "
			"http://[::1]:80 a+b.c-1://z zx://a_b"))
		.allow_origin,
	    "https://a.example:8443 http://[::1]:80 a+b.c-1://z zx://a_b");
	for (i = 0; i < N_OF(bad); i++)
		assert_refused(bad[i], "f:1: allow_origin: \"");
}

static void
the_environment_overrides_keys(void **state)
{
	const char *env[] = {"PATH=/bin", "WALCAST_RETRY_MS=7",
	    "WALCAST_SOCKET= /tmp/s ", "WALCAST_MAX_STREAMS=9",
	    "WALCAST_DEFAULT_CHANNEL=a", NULL};
	struct errmsg err = {""};
	struct conf c = parsed(SPAN("retry_ms = 100\ndrain_ms = 8\n"
				    "default_channel = news,orders"));

	(void)state;
	assert_status(environment(&c, env, &err), ST_OK);
	assert_int_equal(c.retry_ms, 7);
	assert_int_equal(c.drain_ms, 8);
	assert_int_equal(c.max_streams, 9);
	assert_string_equal(c.socket, "/tmp/s");
	assert_string_equal(c.default_channel, "a");
}

static void
names_in_the_environment_that_are_no_keys_are_nobodys_business(void **state)
{
	const char *env[] = {"WALCAST_CONF=/x", "WALCAST_", "WALCAST_=1",
	    "WALCAST_NOTHING=1", "WALCAST_RETRY_MSX=1", "WALCAST_RETRY_M=1",
	    "walcast_retry_ms=1", "WALCAST_retry_ms=1", "RETRY_MS=1",
	    "WALCAST_RETRY_MS", NULL};
	struct errmsg err = {""};
	struct conf c, before;

	(void)state;
	conf_defaults(&c);
	before = c;
	assert_status(environment(&c, env, &err), ST_OK);
	assert_memory_equal(&c, &before, sizeof(c));
}

static void
a_bad_value_in_the_environment_names_the_variable(void **state)
{
	const char *env[] = {"WALCAST_DRAIN_MS=1", "WALCAST_RETRY_MS=soon",
	    NULL};
	struct errmsg err = {""};
	struct conf c, before;

	(void)state;
	conf_defaults(&c);
	before = c;
	assert_status(environment(&c, env, &err), ST_INVALID);
	assert_memory_equal(&c, &before, sizeof(c));
	assert_non_null(
	    strstr(err.text, "WALCAST_RETRY_MS: retry_ms: \"soon\""));
}

/* SetEnv WALCAST_MAX_STREAMS reaches a CGI program's environment. */
static void
a_cgi_request_may_carry_the_cap_of_its_location(void **state)
{
	const char *env[] = {"WALCAST_MAX_STREAMS=0", "WALCAST_RETRY_MS=5",
	    "GATEWAY_INTERFACE=CGI/1.1", NULL};
	struct errmsg err = {""};
	struct conf c;

	(void)state;
	conf_defaults(&c);
	assert_status(environment(&c, env, &err), ST_OK);
	assert_int_equal(c.max_streams, 20000);
	assert_int_equal(c.retry_ms, 5);
	env[2] = NULL;
	assert_status(environment(&c, env, &err), ST_INVALID);
}

static void
a_dump_reads_back_as_the_same(void **state)
{
	struct conf c = parsed(SPAN("socket_mode = 7\n"
				    "database = a b/c#d\n"
				    "default_channel = a,b.*\n"
				    "allow_origin = https://a http://b\n"
				    "reject = hard\n"
				    "metrics = off\n"
				    "metrics_channels = a,b.c\n"
				    "otlp_endpoint = https://a/b#c\n"
				    "retain_bytes = 123\n")),
		    again;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	(void)state;
	assert_non_null(out);
	conf_dump(&c, out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "socket_mode = 0007\n"));
	again = parsed(span_of(text, n));
	assert_memory_equal(&c, &again, sizeof(c));
	free(text);
}

/* People send it to each other; a line goes to the journal. */
static void
secrets_of_an_endpoint_are_not_shown(void **state)
{
	static const struct {
		const char *url, *shown;
	} rows[] = {
	    {"https://a/b", "https://a/b"},
	    {"https://me:S3cret@a/b", "https://***@a/b"},
	    {"https://S3cret@a:1/b", "https://***@a:1/b"},
	    {"https://me:S3/cr@et@a/b", "https://***@a/b"},
	    {"https://a/b?token=S3cret", "https://a/b?***"},
	    {"https://me:S3cret@a/b?S3cret", "https://***@a/b?***"},
	    {"https://me:S3?cret@a/b", "https://***"},
	    {"https://a/?x=@S3cret", "https://***"},
	};
	char line[128], want[128];
	struct errmsg err;
	struct conf c;
	size_t i, n;

	(void)state;
	for (i = 0; i < N_OF(rows); i++) {
		char *text = NULL;
		FILE *out = open_memstream(&text, &n);

		(void)snprintf(line, sizeof(line), "otlp_endpoint = %s\n",
		    rows[i].url);
		(void)snprintf(want, sizeof(want), "otlp_endpoint = %s\n",
		    rows[i].shown);
		c = parsed(span_str(line));
		conf_dump(&c, out);
		assert_int_equal(fclose(out), 0);
		assert_non_null(strstr(text, want));
		free(text);
	}
	for (i = 0; i < N_OF(rows); i++) { /* forgotten =, and scheme */
		conf_defaults(&c);
		(void)snprintf(line, sizeof(line), "otlp_endpoint %s",
		    rows[i].url);
		assert_status(conf_parse(&c, span_str(line), "f", &err),
		    ST_INVALID);
		assert_null(strstr(err.text, "S3"));
		(void)snprintf(line, sizeof(line), "otlp_endpoint = %s",
		    rows[i].url + 8);
		assert_status(conf_parse(&c, span_str(line), "f", &err),
		    ST_INVALID);
		assert_null(strstr(err.text, "S3"));
	}
}

static void
a_named_file_is_read(void **state)
{
	const char *path = tmpdir_path(*state, "w.conf");
	struct errmsg err = {""};
	struct conf c;

	memset(&c, 0xff, sizeof(c));
	tmpdir_write(path, "drain_ms = 11\n", 14);
	assert_status(conf_load(&c, path, &err), ST_OK);
	assert_int_equal(c.drain_ms, 11);
	assert_int_equal(c.retry_ms, 3000);
	assert_int_equal(setenv("WALCAST_CONF", path, 1), 0);
	assert_int_equal(setenv("WALCAST_RETRY_MS", "12", 1), 0);
	assert_status(conf_load(&c, NULL, &err), ST_OK);
	assert_int_equal(c.drain_ms, 11);
	assert_int_equal(c.retry_ms, 12);
	tmpdir_write(path, "drain_ms = x\n", 13);
	c.drain_ms = 99;
	assert_status(conf_load(&c, path, &err), ST_INVALID);
	assert_int_equal(c.drain_ms, 99);
	assert_non_null(strstr(err.text, "w.conf:1: drain_ms"));
}

static void
a_named_file_must_be_there(void **state)
{
	const char *path = tmpdir_path(*state, "none.conf");
	struct errmsg err = {""};
	struct conf c;

	assert_status(conf_load(&c, path, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, "none.conf"));
	assert_int_equal(setenv("WALCAST_CONF", path, 1), 0);
	assert_status(conf_load(&c, NULL, &err), ST_NOTFOUND);
	/* An empty name is none: the default path, which may be missing. */
	assert_int_equal(setenv("WALCAST_CONF", "", 1), 0);
	if (access(CONF_DEFAULT_PATH, F_OK) != 0)
		assert_status(conf_load(&c, NULL, &err), ST_OK);
}

static void
a_file_that_cannot_be_used_is_told(void **state)
{
	const char *path = tmpdir_path(*state, "big.conf");
	static char big[70000];
	struct errmsg err = {""};
	struct conf c;

	memset(big, '\n', sizeof(big));
	tmpdir_write(path, big, sizeof(big));
	assert_status(conf_load(&c, path, &err), ST_INVALID);
	assert_non_null(strstr(err.text, "longer than 65535 bytes"));
	assert_status(conf_load(&c, *state, &err), ST_IO); /* a directory */
	assert_non_null(strstr(err.text, "Is a directory"));
	assert_int_equal(symlink("loop", tmpdir_path(*state, "loop")), 0);
	assert_status(conf_load(&c, tmpdir_path(*state, "loop"), &err), ST_IO);
	assert_status(conf_load(&c, tmpdir_path(*state, "big.conf/x"), &err),
	    ST_NOTFOUND);
	tmpdir_write(path, "", 0);
	fault_alloc_at(1);
	assert_status(conf_load(&c, path, &err), ST_IO);
	assert_true(fault_hit());
	assert_non_null(strstr(err.text, "out of memory"));
	assert_status(conf_load(&c, path, &err), ST_OK);
}

/* ---- while running ------------------------------------------------------ */

static char refused[256]; /* the keys, a blank behind each */

static void
merge(struct conf *now, struct span text, enum conf_user user)
{
	const struct conf fresh = parsed(text);
	const struct conf_row *row = NULL;

	refused[0] = '\0';
	conf_merge(now, &fresh, user);
	while ((row = conf_unmerged(now, &fresh, user, row)) != NULL)
		(void)strcat(strcat(refused, row->key), " ");
}

static void
what_may_change_is_taken_and_the_rest_is_named(void **state)
{
	struct conf now;

	(void)state;
	conf_defaults(&now);
	merge(&now,
	    SPAN("database = /x\nlog_level = debug\nretain_events = 5\n"
		 "ring_bytes = 70000\nallow_origin = *\nmetrics = off\n"),
	    CONF_PUBD);
	assert_string_equal(refused, "database metrics ");
	assert_int_equal(now.log_level, LOG_DEBUG_);
	assert_int_equal(now.retain_events, 5);
	assert_string_equal(now.database, "/var/lib/walcast/events.db");
	assert_string_equal(now.allow_origin, ""); /* it does not read it */
	merge(&now, SPAN("ring_bytes = 70000\nallow_origin = *\n"),
	    CONF_WORKER);
	assert_string_equal(refused, "ring_bytes ");
	assert_string_equal(now.allow_origin, "*");
	assert_int_equal(now.log_level, LOG_INFO_); /* back to its default */
	merge(&now, SPAN("beacon = on\nretry_ms = 9\nring_bytes = 70000\n"),
	    CONF_METRICS);
	assert_string_equal(refused, "retry_ms ");
	assert_int_equal(now.beacon, CONF_ON);
}

/* Behind the end of a text lies what was there before. */
static void
a_text_that_is_the_same_has_not_changed(void **state)
{
	struct conf now = parsed(SPAN("socket = /a\n"));

	(void)state;
	memset(now.socket + 3, 'x', 9);
	merge(&now, SPAN("socket = /a\n"), CONF_PUBD);
	assert_string_equal(refused, "");
}

static void
the_file_that_is_read_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(conf_file(NULL), CONF_DEFAULT_PATH);
	assert_string_equal(conf_file("x"), "x");
	assert_int_equal(setenv("WALCAST_CONF", "/y", 1), 0);
	assert_string_equal(conf_file(NULL), "/y");
	assert_string_equal(conf_file("x"), "x");
	assert_int_equal(setenv("WALCAST_CONF", "", 1), 0);
	assert_string_equal(conf_file(NULL), CONF_DEFAULT_PATH);
}

static int
load_setup(void **state)
{
	(void)unsetenv("WALCAST_CONF");
	return tmpdir_setup(state);
}

static int
load_teardown(void **state)
{
	(void)unsetenv("WALCAST_CONF");
	(void)unsetenv("WALCAST_RETRY_MS");
	return tmpdir_teardown(state);
}

int
main(void)
{
#define T(f) cmocka_unit_test(f)
#define L(f) cmocka_unit_test_setup_teardown(f, load_setup, load_teardown)
	const struct CMUnitTest tests[] = {
	    T(defaults_are_those_of_the_manual),
	    T(the_table_covers_the_struct),
	    T(lines_may_have_blanks_and_comments),
	    T(each_type_of_value_is_read),
	    T(each_word_means_its_own_value),
	    T(errors_name_file_line_key_and_what_is_allowed),
	    T(a_key_may_stand_once),
	    T(a_path_has_room_for_255_bytes),
	    T(default_channels_are_patterns),
	    T(counted_channels_are_names),
	    T(users_are_names_of_this_host_or_numbers),
	    T(an_endpoint_is_a_url),
	    T(lists_are_bounded),
	    T(origins_are_exact_or_a_star),
	    T(the_environment_overrides_keys),
	    T(names_in_the_environment_that_are_no_keys_are_nobodys_business),
	    T(a_bad_value_in_the_environment_names_the_variable),
	    T(a_cgi_request_may_carry_the_cap_of_its_location),
	    T(a_dump_reads_back_as_the_same),
	    L(secrets_of_an_endpoint_are_not_shown),
	    L(a_named_file_is_read),
	    L(a_named_file_must_be_there),
	    L(a_file_that_cannot_be_used_is_told),
	    T(what_may_change_is_taken_and_the_rest_is_named),
	    T(a_text_that_is_the_same_has_not_changed),
	    L(the_file_that_is_read_has_a_name),
	};

	return RUN(tests);
}
