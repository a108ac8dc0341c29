/* SPDX-License-Identifier: MIT */
/*
 * walcast publish: hands events to pubd and prints their ids.  Blocks on
 * standard input; cli_publisher.h talks to pubd.
 */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli_commands.h"
#include "cli_lines.h"
#include "cli_publisher.h"

#define TIMEOUT_S     30
#define MAX_TIMEOUT_S 86400

static const char help_text[] =
    "usage: walcast publish -c CHANNEL [-e EVENT] [-k KEY] [-t TRACE]\n"
    "                       [--json | --text] [--timeout S] [DATA | -]\n"
    "       walcast publish -c CHANNEL [...] --lines\n\n"
    "Publishes DATA, or all of standard input, or each line of it, and prints\n"
    "the id of each event.  Exits with 0 only when all of them are stored.\n\n"
    "  -c, --channel CHANNEL  where to\n"
    "  -e, --event EVENT      type of the event (message)\n"
    "  -k, --key KEY          idempotency key: the same one stores once\n"
    "  -t, --trace TRACE      W3C traceparent\n"
    "      --json, --text     what the data is (JSON if it is valid JSON)\n"
    "  -l, --lines            each line of standard input is one event\n"
    "      --timeout S        wait so long for pubd (30)\n";

enum { OPT_JSON = 256, OPT_TEXT, OPT_TIMEOUT };

static const struct option options[] = {
    {"channel", required_argument, NULL, 'c'},
    {"event", required_argument, NULL, 'e'},
    {"key", required_argument, NULL, 'k'},
    {"trace", required_argument, NULL, 't'},
    {"json", no_argument, NULL, OPT_JSON},
    {"text", no_argument, NULL, OPT_TEXT},
    {"lines", no_argument, NULL, 'l'},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static enum status
publish_input(struct cli_publisher *p, const char *data, size_t max_bytes)
{
	struct cli_lines in;
	struct span all;
	enum status st = ST_OK;

	cli_lines_init(&in, STDIN_FILENO, max_bytes);
	if (p->lines) {
		st = cli_publisher_run(p, &in);
	} else if (data != NULL) {
		cli_publisher_submit(p, 0, span_str(data));
		st = cli_publisher_run(p, NULL);
	} else {
		st = cli_lines_all(&in, &all);
		if (st == ST_OK)
			cli_publisher_submit(p, 0, all);
		if (st == ST_TOOLARGE)
			cli_publisher_fail(p, 0,
			    "too_large: standard input is longer than "
			    "max_line_bytes");
		if (st == ST_OK || st == ST_TOOLARGE)
			st = cli_publisher_run(p, NULL);
	}
	cli_lines_fini(&in);
	return st;
}

static enum cli_exit
publish(struct cli_publisher *p, const char *data, size_t max_bytes)
{
	struct errmsg err = {""};
	enum cli_exit code = CLI_OK;
	enum status st = cli_publisher_open(p, max_bytes, &err);

	if (st != ST_OK && p->link.fd < 0) {
		cli_say("%s%s", err.text,
		    st == ST_NOTFOUND
			? " Start it, or set `socket` to where it listens"
			: st == ST_BUSY
			? " (pubd does not accept): look at its log"
			: "");
		return CLI_UNAVAILABLE;
	}
	if (st == ST_OK)
		st = publish_input(p, data, max_bytes);
	if (st != ST_OK) {
		cli_publisher_broke_off(p, st);
		code = CLI_UNAVAILABLE;
	} else if (p->n_failed > 0) {
		code = CLI_FAILED;
	}
	if (p->lines && p->n_failed > 0)
		cli_say("%" PRIu64 " events are stored, %" PRIu64 " are not",
		    p->n_acked, p->n_failed);
	return cli_finish(code);
}

static bool
publish_options_ok(const struct cli_publisher *p)
{
	if (!cli_request_names_ok(&p->request))
		return false;
	if (!p->lines || p->request.key.p == NULL)
		return true;
	cli_say("-k with --lines would make one event of all lines: leave one "
		"of them out");
	return false;
}

static bool
publish_option(struct cli_publisher *p, int o)
{
	int64_t seconds;

	switch (o) {
	case 'c':
		p->request.channel = span_str(optarg);
		break;
	case 'e':
		p->request.event = span_str(optarg);
		break;
	case 'k':
		p->request.key = span_str(optarg);
		break;
	case 't':
		p->request.trace = span_str(optarg);
		break;
	case 'l':
		p->lines = true;
		break;
	case OPT_JSON:
		p->request.form = CLI_FORM_JSON;
		break;
	case OPT_TEXT:
		p->request.form = CLI_FORM_TEXT;
		break;
	default: /* OPT_TIMEOUT */
		if (!cli_number("--timeout", optarg, 1, MAX_TIMEOUT_S,
			&seconds))
			return false;
		p->timeout_us = (uint64_t)seconds * 1000000;
		break;
	}
	return true;
}

static enum cli_exit
publish_run(const struct cli *cli, int argc, char **argv)
{
	static struct cli_publisher p = {
	    .link = {.fd = -1},
	    .timeout_us = TIMEOUT_S * UINT64_C(1000000),
	};
	const char *data = NULL;
	enum cli_exit code;
	int o;

	while (
	    (o = getopt_long(argc, argv, "c:e:k:t:lh", options, NULL)) != -1) {
		if (o == 'h' || o == '?')
			return cli_usage(o);
		if (!publish_option(&p, o))
			return CLI_USAGE;
	}
	if (optind < argc && strcmp(argv[optind], "-") != 0)
		data = argv[optind];
	if (argc - optind > 1 || (p.lines && data != NULL)) {
		cli_say("\"%.80s\" is not expected here: quote data that "
			"holds spaces",
		    argv[argc - 1]);
		return cli_usage('?');
	}
	if (!publish_options_ok(&p))
		return cli_usage('?');
	p.socket = cli->conf.socket;
	code = publish(&p, data, (size_t)cli->conf.max_line_bytes);
	cli_publisher_close(&p);
	return code;
}

const struct cli_command cli_publish = {
    .name = "publish",
    .summary = "hand events to pubd",
    .help = help_text,
    .run = publish_run,
};
