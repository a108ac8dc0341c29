/* SPDX-License-Identifier: MIT */
/*
 * walcast trim: deletes the oldest events by hand, in slices, so that pubd
 * and other writers get their turn between two of them.  Waits a bounded time
 * for a log that is locked.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli_commands.h"
#include "clock.h"

#define SLICE_ROWS    1000
#define SLICE_REST_US 1000 /* after each slice */
#define WAL_PAGES     1000
#define BUSY_REST_US  2000
#define TIMEOUT_S     30
#define MAX_TIMEOUT_S 86400
#define MAX_AGE_S     (INT64_C(1) << 40)

struct trim {
	const struct cli *cli;
	int64_t before;    /* ids below it go; 0: not this way */
	int64_t keep;      /* -1: not this way */
	int64_t min_ts_ms; /* older ones go; INT64_MIN: not this way */
	int64_t now_ms;
	bool yes;
	uint64_t timeout_us;
	struct store_writer *writer;
	int64_t n_deleted;
};

static const char help_text[] =
    "usage: walcast trim --before ID | --older SECONDS | --keep N\n"
    "                    [--yes] [--timeout S]\n\n"
    "Deletes the oldest events, in small steps, while everything runs.\n\n"
    "      --before ID      those with a smaller id\n"
    "      --older SECONDS  those that are older\n"
    "      --keep N         all but the newest N\n"
    "  -y, --yes            do not ask (it asks on a terminal only)\n"
    "      --timeout S      wait so long for a log that is locked (30)\n";

enum { OPT_BEFORE = 256, OPT_OLDER, OPT_KEEP, OPT_TIMEOUT };

static const struct option options[] = {
    {"before", required_argument, NULL, OPT_BEFORE},
    {"older", required_argument, NULL, OPT_OLDER},
    {"keep", required_argument, NULL, OPT_KEEP},
    {"yes", no_argument, NULL, 'y'},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What a slice may delete; ST_END: nothing is so old. */
static enum status
slice_of(const struct trim *t, struct store_retain *r)
{
	*r = (struct store_retain){.max_rows = SLICE_ROWS, .now_ms = t->now_ms};
	if (t->before > 0)
		r->before_id = t->before;
	else if (t->min_ts_ms != INT64_MIN)
		r->min_ts_ms = t->min_ts_ms;
	else if (t->keep > 0)
		r->max_events = t->keep;
	else
		r->before_id = INT64_MAX; /* all of them */
	/* Nothing is older than 1970, and 0 would be no limit. */
	return r->min_ts_ms < 0 ? ST_END : ST_OK;
}

static enum status
slice(struct trim *t, bool *more)
{
	struct store_retain r;
	int n = 0, left;
	enum status st = store_writer_check(t->writer);

	*more = false;
	if (st == ST_OK)
		st = slice_of(t, &r);
	if (st != ST_OK)
		return st == ST_END ? ST_OK : st;
	st = store_trim(t->writer, &r, &n, more);
	if (st != ST_OK)
		return st;
	t->n_deleted += n;
	/* A checkpoint that fails now will be made later. */
	status_ignore(store_checkpoint(t->writer, WAL_PAGES, &left));
	return ST_OK;
}

static enum status
delete_all(struct trim *t)
{
	uint64_t deadline = clock_mono_us() + t->timeout_us;
	bool more = true;
	enum status st = ST_OK;

	while (more) {
		st = slice(t, &more);
		if (st == ST_OK) {
			deadline = clock_mono_us() + t->timeout_us;
			if (more)
				cli_pause_us(SLICE_REST_US);
		} else if (st == ST_BUSY && clock_mono_us() < deadline) {
			more = true;
			cli_pause_us(BUSY_REST_US);
		} else {
			break;
		}
	}
	return st;
}

/* ---- the command ------------------------------------------------------- */

static enum cli_exit
cli_trim_report(struct trim *t, enum status st)
{
	struct store_bounds b;

	if (st == ST_BUSY)
		cli_say("the log %s is locked by another program; %" PRId64
			" events are deleted so far: find the program that "
			"keeps its transaction open, or raise --timeout",
		    t->cli->conf.database, t->n_deleted);
	else if (st == ST_MOVED)
		cli_say("the log %s was replaced meanwhile: run this again",
		    t->cli->conf.database);
	else if (st != ST_OK)
		cli_say("cannot delete from %s: %s; %" PRId64
			" events are deleted so far",
		    t->cli->conf.database, store_writer_error(t->writer),
		    t->n_deleted);
	if (st != ST_OK)
		return CLI_FAILED;
	if (store_writer_bounds(t->writer, &b) == ST_OK)
		(void)printf("deleted %" PRId64 " events; oldest %" PRId64
			     ", head %" PRId64 "\n",
		    t->n_deleted, b.oldest, b.head);
	return cli_finish(CLI_OK);
}

static enum cli_exit
trim(struct trim *t)
{
	struct store_options o = cli_store(t->cli);
	struct errmsg err = {""};
	enum cli_exit code;
	enum status st;

	if (!t->yes &&
	    !cli_confirm("Delete these events of %s for good?",
		t->cli->conf.database)) {
		cli_say("nothing was deleted");
		return CLI_FAILED;
	}
	st = store_writer_open(&t->writer, &o, &err);
	if (st != ST_OK) {
		cli_say("%s", err.text);
		return CLI_FAILED;
	}
	code = cli_trim_report(t, delete_all(t));
	store_writer_close(&t->writer);
	return code;
}

static bool
cli_trim_set_option(struct trim *t, int o)
{
	int64_t seconds;

	switch (o) {
	case OPT_BEFORE:
		return cli_number("--before", optarg, 1, INT64_MAX, &t->before);
	case OPT_OLDER:
		if (!cli_number("--older", optarg, 0, MAX_AGE_S, &seconds))
			return false;
		t->now_ms = clock_real_ms();
		t->min_ts_ms = t->now_ms - seconds * 1000;
		return true;
	case OPT_KEEP:
		return cli_number("--keep", optarg, 0, INT64_MAX / 2, &t->keep);
	case OPT_TIMEOUT:
		if (!cli_number("--timeout", optarg, 1, MAX_TIMEOUT_S,
			&seconds))
			return false;
		t->timeout_us = (uint64_t)seconds * 1000000;
		return true;
	default: /* 'y' */
		t->yes = true;
		return true;
	}
}

static enum cli_exit
cli_trim_run(const struct cli *cli, int argc, char **argv)
{
	struct trim t = {
	    .cli = cli,
	    .keep = -1,
	    .min_ts_ms = INT64_MIN,
	    .timeout_us = TIMEOUT_S * UINT64_C(1000000),
	};
	int o;

	while ((o = getopt_long(argc, argv, "yh", options, NULL)) != -1) {
		if (o == 'h' || o == '?')
			return cli_usage(o);
		if (!cli_trim_set_option(&t, o))
			return CLI_USAGE;
	}
	if (optind < argc ||
	    (t.before > 0) + (t.min_ts_ms != INT64_MIN) + (t.keep >= 0) != 1) {
		cli_say("say which events: one of --before, --older, --keep");
		return cli_usage('?');
	}
	return trim(&t);
}

const struct cli_command cli_trim = {
    .name = "trim",
    .summary = "delete the oldest events by hand",
    .help = help_text,
    .run = cli_trim_run,
};
