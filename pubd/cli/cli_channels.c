/* SPDX-License-Identifier: MIT */
/*
 * walcast channels: the channels of which an event is retained, each with its
 * newest id.  Written when the log is closed again.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli_commands.h"
#include "jsontext.h"
#include "name.h"

#define MAX_BYTES (1u << 30)

struct list {
	struct span pattern; /* SPAN_NONE: all */
	bool json;
	int64_t oldest;
	struct buf out;
};

static const char help_text[] =
    "usage: walcast channels [--json] [PATTERN]\n\n"
    "Lists the channels that hold events, each behind its newest id.\n"
    "PATTERN is a channel, or the beginning of one and *.\n\n"
    "  -j, --json   one JSON object a line\n";

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void
add_channel_text(struct buf *out, struct span name, int64_t last_id)
{
	buf_addf(out, "%12" PRId64 "  ", last_id);
	cli_add_visible(out, name);
}

static void
add_channel_json(struct buf *out, struct span name, int64_t last_id)
{
	size_t from = out->len;

	buf_add(out, SPAN("{\"channel\":"));
	jsontext_add_quoted(out, name);
	buf_addf(out, ",\"last_id\":%" PRId64 "}", last_id);
	cli_escape_json(out, from);
}

static enum status
add_listed(void *arg, struct span name, int64_t last_id)
{
	struct list *l = arg;
	size_t start = l->out.len;

	if (last_id < l->oldest)
		return ST_OK; /* retention will forget it */
	if (name_reserved(name))
		return ST_OK; /* revocations are nobody's channel */
	if (l->pattern.p != NULL && !name_pattern_match(l->pattern, name))
		return ST_OK;
	if (l->json)
		add_channel_json(&l->out, name, last_id);
	else
		add_channel_text(&l->out, name, last_id);
	buf_add(&l->out, SPAN("\n"));
	return buf_finish(&l->out, start);
}

static enum status
read_list(const struct cli *cli, struct list *l, struct errmsg *err)
{
	struct store_options o = cli_store(cli);
	struct store_reader *r = NULL;
	struct store_bounds b;
	enum status st = store_reader_open(&r, &o, err);

	if (st != ST_OK)
		return st;
	st = store_reader_bounds(r, &b);
	if (st == ST_OK) {
		l->oldest = b.oldest;
		st = store_channels(r, add_listed, l);
	}
	if (st != ST_OK)
		errmsg_set(err, "cannot read the channels of %s: %s",
		    cli->conf.database,
		    st == ST_FULL || st == ST_NOMEM ? status_name(st)
						    : store_reader_error(r));
	store_reader_close(&r);
	return st;
}

static enum cli_exit
channels_list(const struct cli *cli, struct list *l)
{
	struct errmsg err = {""};
	enum cli_exit code = CLI_OK;
	enum status st;

	buf_init(&l->out, MAX_BYTES);
	st = read_list(cli, l, &err);
	if (st != ST_OK) {
		cli_say("%s", err.text);
		code = CLI_FAILED;
	} else if (l->out.len == 0) {
		code = CLI_NOTHING;
	} else if (cli_write(buf_span(&l->out)) == ST_IO) {
		code = CLI_FAILED;
	}
	buf_fini(&l->out);
	return code;
}

static enum cli_exit
channels_run(const struct cli *cli, int argc, char **argv)
{
	struct list l = {.pattern = SPAN_NONE};
	int o;

	while ((o = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (o != 'j')
			return cli_usage(o);
		l.json = true;
	}
	if (optind < argc)
		l.pattern = span_str(argv[optind]);
	if (argc - optind > 1 ||
	    (l.pattern.p != NULL && !name_pattern_ok(l.pattern))) {
		cli_say("\"%.140s\" is not a channel, nor the beginning of one "
			"and *, or one too many",
		    argv[argc - 1]);
		return cli_usage('?');
	}
	return channels_list(cli, &l);
}

const struct cli_command cli_channels = {
    .name = "channels",
    .summary = "list the channels that hold events",
    .help = help_text,
    .run = channels_run,
};
