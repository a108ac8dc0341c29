/* SPDX-License-Identifier: MIT */
/* The command line of sseload: one table for parser and help. */
#include "sseconf.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum {
	OPT_URL = 1,
	OPT_STREAMS,
	OPT_RATE,
	OPT_CHURN,
	OPT_CHURN_RST,
	OPT_STALL,
	OPT_RCVBUF,
	OPT_READ_BYTES,
	OPT_COALESCE,
	OPT_IDS,
	OPT_DENSE,
	OPT_SEQ,
	OPT_OPEN_ON,
	OPT_ALLOW_GAPS,
	OPT_NO_RECONNECT,
	OPT_RETRY_ERRORS,
	OPT_CLOSE_DONE,
	OPT_LAST_ID,
	OPT_HEADER,
	OPT_UNTIL_ID,
	OPT_UNTIL_POSITION,
	OPT_UNTIL_EVENTS,
	OPT_SECONDS,
	OPT_MAX_TIME,
	OPT_LINGER,
	OPT_RETRY_MS,
	OPT_LATENCY,
	OPT_START_FILE,
	OPT_READY_FILE,
	OPT_READY_STREAMS,
	OPT_DUMP,
	OPT_MAX_FDS,
	OPT_SOURCES,
	OPT_SEED,
};

static const struct tool_opt opts[] = {
    {OPT_URL, "url", "URL",
	"http://A.B.C.D:PORT/path?query; repeated: dealt in turn"},
    {OPT_STREAMS, "n", "N", "the same as --streams"},
    {OPT_STREAMS, "streams", "N", "streams to hold (default 1)"},
    {OPT_RATE, "rate-connect", "R",
	"new connections per second at start (default: 256 at a time)"},
    {OPT_CHURN, "churn", "PCT",
	"drop this percentage of streams each second, reconnect at once"},
    {OPT_CHURN_RST, "churn-rst", NULL, "drop them with RST"},
    {OPT_STALL, "stall", "N:S[:K]",
	"N streams stop reading for S seconds after K events (1)"},
    {OPT_RCVBUF, "rcvbuf", "BYTES", "receive buffer of each socket"},
    {OPT_READ_BYTES, "read-bytes", "N", "most for one read (default 262144)"},
    {OPT_COALESCE, "coalesce-ms", "MS",
	"read each MS at most: cheaper, for throughput alone"},
    {OPT_IDS, "ids", "int|none", "check integer ids, or no ids"},
    {OPT_DENSE, "dense", NULL, "each stream takes every event: ids +1"},
    {OPT_SEQ, "seq", NULL, "check that \"s\":N in the data goes up by 1"},
    {OPT_OPEN_ON, "open-on", "control|head",
	"what opens a stream (control.open; head with --ids none)"},
    {OPT_ALLOW_GAPS, "allow-gaps", NULL,
	"control.gap is counted, but no violation"},
    {OPT_NO_RECONNECT, "no-reconnect", NULL, "one connection each"},
    {OPT_RETRY_ERRORS, "retry-errors", NULL,
	"reconnect after a status other than 200 too"},
    {OPT_CLOSE_DONE, "close-done", NULL,
	"close a stream that is done (default: when all are)"},
    {OPT_LAST_ID, "last-id", "ID", "Last-Event-ID of the first request"},
    {OPT_HEADER, "header", "K:V", "one more request header; repeatable"},
    {OPT_UNTIL_ID, "until-id", "ID", "done at an event id >= ID"},
    {OPT_UNTIL_POSITION, "until-position", "ID",
	"done at any id >= ID, of an event or a position"},
    {OPT_UNTIL_EVENTS, "until-events", "N", "done after N events"},
    {OPT_SECONDS, "seconds", "S", "end S seconds after all are open"},
    {OPT_MAX_TIME, "max-time", "S", "hard stop (default 120)"},
    {OPT_LINGER, "linger", "S",
	"go on for S seconds when all are done: strays show up"},
    {OPT_RETRY_MS, "retry-ms", "MS", "instead of the server's retry"},
    {OPT_LATENCY, "latency", "FIELD",
	"publishing time in the data, microseconds of CLOCK_MONOTONIC"},
    {OPT_START_FILE, "start-file", "FILE",
	"wait for this file before connecting"},
    {OPT_READY_FILE, "ready-file", "FILE", "written when all are open"},
    {OPT_READY_STREAMS, "ready-streams", "N", "... when N are open"},
    {OPT_DUMP, "dump", "FILE", "write every block as a line of JSON"},
    {OPT_MAX_FDS, "max-fds", "N", "refuse to need more descriptors"},
    {OPT_SOURCES, "source-addresses", "K",
	"bind to 127.0.0.1 ... 127.0.0.K in turn"},
    {OPT_SEED, "seed", "N", "of the choice of streams to drop"},
    {0, NULL, NULL, NULL},
};

static void
parse_url(struct conf *c, const char *text)
{
	struct url *u = &c->urls[c->n_urls++];
	const char *host = text + 7, *slash;
	char name[64], *colon;

	if (c->n_urls > CONF_MAX_URLS)
		tool_die("at most %d urls", CONF_MAX_URLS);
	if (strncmp(text, "http://", 7) != 0)
		tool_die("%s: not an http:// url", text);
	slash = strchr(host, '/');
	if (slash == NULL || (size_t)(slash - host) >= sizeof(name))
		tool_die("%s: no path", text);
	memcpy(name, host, (size_t)(slash - host));
	name[slash - host] = '\0';
	u->addr.sin_family = AF_INET;
	u->addr.sin_port = htons(80);
	colon = strchr(name, ':');
	if (colon != NULL) {
		u->addr.sin_port = htons((uint16_t)tool_u64("port", colon + 1));
		*colon = '\0';
	}
	if (strcmp(name, "localhost") == 0)
		strcpy(name, "127.0.0.1");
	if (inet_pton(AF_INET, name, &u->addr.sin_addr) != 1)
		tool_die("%s: the host must be an IPv4 address", text);
	u->host = host;
	u->host_len = (int)(slash - host);
	u->path = slash;
}

static void
parse_stall(struct conf *c, const char *text)
{
	char copy[64], *s, *k;

	if (strlen(text) >= sizeof(copy))
		tool_die("--stall %s: too long", text);
	strcpy(copy, text);
	s = strchr(copy, ':');
	if (s == NULL)
		tool_die("--stall wants N:SECONDS[:EVENTS]");
	*s++ = '\0';
	k = strchr(s, ':');
	if (k != NULL)
		*k++ = '\0';
	c->n_stalled = tool_u64("--stall", copy);
	c->stall_s = tool_double("--stall", s);
	c->stall_after = k != NULL ? tool_u64("--stall", k) : 1;
}

static bool
choice(const char *arg, const char *yes, const char *no)
{
	if (strcmp(arg, yes) != 0 && strcmp(arg, no) != 0)
		tool_die("%s: either %s or %s", arg, yes, no);
	return strcmp(arg, yes) == 0;
}

static void
parse_switch(struct conf *c, int id)
{
	switch (id) {
	case OPT_CHURN_RST:
		c->churn_rst = true;
		break;
	case OPT_DENSE:
		c->dense = true;
		break;
	case OPT_SEQ:
		c->seq = true;
		break;
	case OPT_ALLOW_GAPS:
		c->allow_gaps = true;
		break;
	case OPT_NO_RECONNECT:
		c->reconnect = false;
		break;
	case OPT_RETRY_ERRORS:
		c->retry_errors = true;
		break;
	default:
		c->close_done = true;
		break;
	}
}

static void
parse_number(struct conf *c, int id, const char *arg)
{
	switch (id) {
	case OPT_STREAMS:
		c->n_streams = tool_u64("--streams", arg);
		break;
	case OPT_RATE:
		c->connects_per_s = tool_double("--rate-connect", arg);
		break;
	case OPT_CHURN:
		c->churn_pct = tool_double("--churn", arg);
		break;
	case OPT_RCVBUF:
		c->rcvbuf = (int)tool_u64("--rcvbuf", arg);
		break;
	case OPT_READ_BYTES:
		c->read_bytes = tool_u64("--read-bytes", arg);
		break;
	case OPT_COALESCE:
		c->coalesce_ms = tool_double("--coalesce-ms", arg);
		break;
	case OPT_UNTIL_ID:
		c->until_id = tool_u64("--until-id", arg);
		break;
	case OPT_UNTIL_POSITION:
		c->until_position = tool_u64("--until-position", arg);
		break;
	case OPT_UNTIL_EVENTS:
		c->until_events = tool_u64("--until-events", arg);
		break;
	case OPT_SECONDS:
		c->seconds = tool_double("--seconds", arg);
		break;
	case OPT_MAX_TIME:
		c->max_s = tool_double("--max-time", arg);
		break;
	case OPT_LINGER:
		c->linger_s = tool_double("--linger", arg);
		break;
	case OPT_RETRY_MS:
		c->retry_ms = tool_u64("--retry-ms", arg);
		break;
	case OPT_READY_STREAMS:
		c->ready_streams = tool_u64("--ready-streams", arg);
		break;
	case OPT_MAX_FDS:
		c->max_fds = tool_u64("--max-fds", arg);
		break;
	case OPT_SOURCES:
		c->n_sources = (unsigned)tool_u64("--source-addresses", arg);
		break;
	default:
		c->seed = tool_u64("--seed", arg);
		break;
	}
}

static void
parse_text(struct conf *c, int id, const char *arg)
{
	switch (id) {
	case OPT_URL:
		parse_url(c, arg);
		break;
	case OPT_STALL:
		parse_stall(c, arg);
		break;
	case OPT_IDS:
		c->ids = choice(arg, "int", "none");
		c->open_on_head = c->open_on_head || !c->ids;
		break;
	case OPT_OPEN_ON:
		c->open_on_head = choice(arg, "head", "control");
		break;
	case OPT_LAST_ID:
		c->last_id = arg;
		break;
	case OPT_HEADER:
		if (c->n_headers == CONF_MAX_HEADERS)
			tool_die("too many --header");
		c->headers[c->n_headers++] = arg;
		break;
	case OPT_LATENCY:
		c->latency = arg;
		break;
	case OPT_START_FILE:
		c->start_file = arg;
		break;
	case OPT_READY_FILE:
		c->ready_file = arg;
		break;
	case OPT_DUMP:
		c->dump_file = arg;
		break;
	default:
		parse_number(c, id, arg);
		break;
	}
}

static void
check(const struct conf *c)
{
	if (c->n_urls == 0)
		tool_die("sseload: --url is needed");
	if (c->n_streams == 0 || c->n_streams > 1000000)
		tool_die("--streams: 1 to 1000000");
	if (c->n_stalled > c->n_streams)
		tool_die("--stall: more than --streams");
	if (c->dense && !c->ids)
		tool_die("--dense needs --ids int");
	if (c->read_bytes == 0 || c->read_bytes > (size_t)64 << 20)
		tool_die("--read-bytes: 1 to 64 MiB");
	if (c->coalesce_ms >= 1000)
		tool_die("--coalesce-ms: below 1000");
	if (c->n_sources > 254)
		tool_die("--source-addresses: at most 254");
	if (c->max_s <= 0 || c->max_s > 86400)
		tool_die("--max-time: up to 86400");
}

void
conf_parse(struct conf *c, char **argv)
{
	const char *arg;
	int id, at = 1;

	memset(c, 0, sizeof(*c));
	c->n_streams = 1;
	c->ids = true;
	c->reconnect = true;
	c->max_s = 120;
	c->read_bytes = (size_t)256 * 1024;
	c->retry_ms = UINT64_MAX;
	c->seed = 1;
	while ((id = tool_next_opt("sseload", opts, argv, &at, &arg)) != 0) {
		if (arg == NULL)
			parse_switch(c, id);
		else
			parse_text(c, id, arg);
	}
	check(c);
	if (c->ready_streams == 0 || c->ready_streams > c->n_streams)
		c->ready_streams = c->n_streams;
}
