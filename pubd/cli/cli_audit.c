/* SPDX-License-Identifier: MIT */
/*
 * walcast audit: reads the whole log and proves what it promises.
 *
 *   ids         dense from the oldest to the head
 *   prev        the id before on the same channel; the first one that is
 *               retained may name one that no longer is, or none
 *   timestamps  between 2000 and tomorrow
 *   json        what is marked as JSON is JSON
 *   channels    the table names each channel's newest id
 *   generation  is there
 *
 * Reads up to the head as it was at the start, so a log in use can be audited;
 * what retention deletes meanwhile is mentioned, and is no fault.  Memory: one
 * entry for each channel.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_commands.h"
#include "clock.h"
#include "hashtable.h"
#include "jsontext.h"
#include "name.h"

#define PAGE_ROWS    5000
#define SHOW_FAULTS  10
#define BUSY_WAIT_US UINT64_C(10000000)
#define BUSY_REST_US 10000
#define MIN_TS_MS    INT64_C(946684800000) /* 2000-01-01 */
#define DAY_MS       INT64_C(86400000)
#define BACK_MS      60000 /* a clock set back by more is told */

struct channel {
	UT_hash_handle hh;
	int64_t last_id;
	bool listed; /* in the table channels */
	size_t len;
	char name[NAME_MAX_BYTES];
};

struct audit {
	const struct cli *cli;
	struct store_reader *reader;
	struct store_bounds b; /* at the start */
	int64_t first_id;      /* that was read; 0: none yet */
	int64_t expected_id;
	int64_t last_ts_ms, max_ts_ms;
	struct channel *channels;
	int64_t n_events, n_channels, n_faults, n_back, n_trimmed;
};

static const char help_text[] =
    "usage: walcast audit\n\n"
    "Reads the whole log and checks ids, links, timestamps, channels and\n"
    "generation.  Exits with 1 and the first places that are wrong.\n";

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- faults ------------------------------------------------------------ */

/* Counts a fault; true: it is one of the first and is to be printed. */
static bool
fault(struct audit *a)
{
	return a->n_faults++ < SHOW_FAULTS;
}

static void
wrong_id(struct audit *a, int64_t found)
{
	if (found <= a->b.head) {
		if (fault(a))
			(void)printf("id %" PRId64 ": expected id %" PRId64
				     ", found %" PRId64 ": %" PRId64
				     " events are missing\n",
			    a->expected_id, a->expected_id, found,
			    found - a->expected_id);
	} else if (fault(a)) {
		(void)printf("id %" PRId64
			     ": expected ids up to the head %" PRId64
			     ", found none: %" PRId64 " events are missing\n",
		    a->expected_id, a->b.head, found - a->expected_id);
	}
}

static void
wrong_prev(struct audit *a, const struct event *e, int64_t expected)
{
	if (!fault(a))
		return;
	if (expected > 0)
		(void)printf("id %" PRId64 " on %.*s: expected prev %" PRId64
			     ", found %" PRId64 "\n",
		    e->id, (int)e->channel.len, e->channel.p, expected,
		    e->prev);
	else
		(void)printf("id %" PRId64 " on %.*s: expected prev 0 or one "
			     "before %" PRId64 ", found %" PRId64 "\n",
		    e->id, (int)e->channel.len, e->channel.p, a->first_id,
		    e->prev);
}

static void
wrong_tip(struct audit *a, struct span name, int64_t expected, int64_t found)
{
	if (fault(a))
		(void)printf("channel %.*s: expected newest id %" PRId64
			     ", found %" PRId64 " in the table channels\n",
		    (int)name.len, name.p, expected, found);
}

/* ---- events ------------------------------------------------------------ */

static struct channel *
find_channel(struct audit *a, struct span name)
{
	struct channel *c = NULL;

	HASH_FIND(hh, a->channels, name.p, name.len, c);
	return c;
}

static struct channel *
remember_channel(struct audit *a, struct span name)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	memcpy(c->name, name.p, name.len);
	c->len = name.len;
	HASH_ADD_KEYPTR(hh, a->channels, c->name, c->len, c);
	if (c->hh.tbl == NULL) { /* uthash found no memory */
		free(c);
		return NULL;
	}
	a->n_channels++;
	return c;
}

static enum status
check_link(struct audit *a, const struct event *e)
{
	struct channel *c = find_channel(a, e->channel);

	if (c == NULL) {
		/* What it names was deleted, or nothing was retained then. */
		if (e->prev < 0 || e->prev >= a->first_id)
			wrong_prev(a, e, 0);
		c = remember_channel(a, e->channel);
		if (c == NULL)
			return ST_NOMEM;
	} else if (e->prev != c->last_id) {
		wrong_prev(a, e, c->last_id);
	}
	c->last_id = e->id;
	return ST_OK;
}

static void
check_time(struct audit *a, const struct event *e)
{
	char when[CLI_TIME_BYTES];

	if (e->ts_ms < MIN_TS_MS || e->ts_ms > a->max_ts_ms) {
		if (fault(a))
			(void)printf("id %" PRId64 ": expected a time from "
				     "2000 to tomorrow, found %" PRId64
				     " (%s)\n",
			    e->id, e->ts_ms, cli_time(when, e->ts_ms));
		return;
	}
	if (e->ts_ms < a->last_ts_ms - BACK_MS)
		a->n_back++;
	a->last_ts_ms = e->ts_ms;
}

static enum status
audit_event(void *arg, const struct event *e)
{
	struct audit *a = arg;
	size_t at;

	if (a->first_id == 0)
		a->first_id = e->id;
	if (e->id != a->expected_id)
		wrong_id(a, e->id);
	a->expected_id = e->id + 1;
	a->n_events++;
	if (!name_channel_ok(e->channel)) {
		if (fault(a))
			(void)printf("id %" PRId64 ": expected a channel "
				     "name, found none\n",
			    e->id);
		return ST_OK;
	}
	check_time(a, e);
	if (e->kind == EVENT_DATA_JSON &&
	    jsontext_check(e->data, &at) != ST_OK && fault(a))
		(void)printf("id %" PRId64 " on %.*s: expected JSON, found "
			     "something else at byte %zu\n",
		    e->id, (int)e->channel.len, e->channel.p, at);
	return check_link(a, e);
}

/*
 * Were the events before the next one deleted by retention, since the start
 * or just now?  Then they are not missing.
 */
static enum status
pass_retention(struct audit *a)
{
	struct store_bounds now;
	enum status st = store_reader_bounds(a->reader, &now);

	if (st != ST_OK || now.oldest <= a->expected_id)
		return st;
	if (strcmp(now.generation, a->b.generation) != 0)
		return ST_MOVED;
	a->n_trimmed += now.oldest - a->expected_id;
	a->expected_id = now.oldest;
	return ST_OK;
}

/* Another program has the log locked: pauses, until the deadline. */
static enum status
busy_wait(enum status st, uint64_t deadline_us)
{
	if (st != ST_BUSY || clock_mono_us() > deadline_us)
		return st;
	cli_pause_us(BUSY_REST_US);
	return ST_OK;
}

/* The first to open it after a crash has it locked for a moment. */
static enum status
open_log(struct audit *a, const struct store_options *o, struct errmsg *err)
{
	uint64_t deadline = clock_mono_us() + BUSY_WAIT_US;
	enum status st;

	do
		st = store_reader_open(&a->reader, o, err);
	while (st == ST_BUSY && busy_wait(st, deadline) == ST_OK);
	return st;
}

static enum status
audit_events(struct audit *a)
{
	uint64_t deadline = clock_mono_us() + BUSY_WAIT_US;
	enum status st = ST_OK;

	while (st == ST_OK && a->expected_id <= a->b.head) {
		struct store_page page = {
		    .upto_id = a->b.head,
		    .max_rows = PAGE_ROWS,
		    .take = audit_event,
		    .arg = a,
		};
		int64_t before = a->expected_id;

		st = pass_retention(a);
		page.after_id = a->expected_id - 1;
		if (st == ST_OK && a->expected_id <= a->b.head)
			st = store_read(a->reader, &page);
		if (a->expected_id > before)
			deadline = clock_mono_us() + BUSY_WAIT_US;
		else if (st == ST_OK)
			break; /* nothing is there up to the head */
		st = busy_wait(st, deadline);
	}
	return st;
}

/* ---- the table of channels --------------------------------------------- */

static enum status
check_listed(void *arg, struct span name, int64_t last_id)
{
	struct audit *a = arg;
	struct channel *c = find_channel(a, name);

	if (c != NULL)
		c->listed = true;
	if (last_id > a->b.head)
		return ST_OK; /* published since the start */
	if (c != NULL && c->last_id != last_id)
		wrong_tip(a, name, c->last_id, last_id);
	else if (c == NULL &&
	    (last_id >= a->expected_id ||
		(a->first_id != 0 && last_id >= a->first_id)))
		wrong_tip(a, name, 0, last_id);
	return ST_OK;
}

static enum status
check_channels(struct audit *a)
{
	struct store_bounds now;
	struct channel *c, *tmp;
	enum status st = store_channels(a->reader, check_listed, a);

	if (st == ST_OK)
		st = store_reader_bounds(a->reader, &now);
	if (st != ST_OK)
		return st;
	HASH_ITER (hh, a->channels, c, tmp) {
		/* Retention may have forgotten it meanwhile. */
		if (!c->listed && c->last_id >= now.oldest && fault(a))
			(void)printf("channel %.*s: expected newest id %" PRId64
				     ", found none in the table channels\n",
			    (int)c->len, c->name, c->last_id);
	}
	return ST_OK;
}

static void
check_generation(struct audit *a)
{
	if (strspn(a->b.generation, "0123456789abcdef") != 32 && fault(a))
		(void)printf("generation: expected 32 hexadecimal digits, "
			     "found \"%.40s\"\n",
		    a->b.generation);
}

/* ---- the command ------------------------------------------------------- */

static enum status
audit_log(struct audit *a)
{
	enum status st = store_reader_bounds(a->reader, &a->b);

	if (st != ST_OK)
		return st;
	a->expected_id = a->b.oldest;
	a->max_ts_ms = clock_real_ms() + DAY_MS;
	check_generation(a);
	st = audit_events(a);
	if (st == ST_OK && a->expected_id <= a->b.head) {
		wrong_id(a, a->b.head + 1);
		a->expected_id = a->b.head + 1;
	}
	if (st == ST_OK)
		st = check_channels(a);
	return st;
}

static enum cli_exit
audit_report(const struct audit *a)
{
	if (a->n_faults > SHOW_FAULTS)
		(void)printf("... and %" PRId64 " more\n",
		    a->n_faults - SHOW_FAULTS);
	if (a->n_trimmed > 0)
		(void)printf("note: retention deleted %" PRId64
			     " events while this ran\n",
		    a->n_trimmed);
	if (a->n_back > 0)
		(void)printf("note: the clock was set back %" PRId64 " times\n",
		    a->n_back);
	(void)printf("%s: %s: %" PRId64 " events, ids %" PRId64 " to %" PRId64
		     ", %" PRId64 " channels, generation %s, %" PRId64
		     " faults\n",
	    a->cli->conf.database, a->n_faults == 0 ? "sound" : "DAMAGED",
	    a->n_events, a->b.oldest, a->b.head, a->n_channels, a->b.generation,
	    a->n_faults);
	if (a->n_faults > 0)
		cli_say("the log was changed by hand or is damaged: keep a "
			"copy, and see walcast(1), audit");
	return cli_finish(a->n_faults == 0 ? CLI_OK : CLI_FAILED);
}

static void
forget_channels(struct audit *a)
{
	struct channel *c, *tmp;

	HASH_ITER (hh, a->channels, c, tmp) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) freed below */
		HASH_DEL(a->channels, c);
		free(c);
	}
}

static enum cli_exit
audit_run(const struct cli *cli, int argc, char **argv)
{
	struct store_options o = cli_store(cli);
	struct audit a = {.cli = cli};
	struct errmsg err = {""};
	enum cli_exit code = CLI_FAILED;
	enum status st;
	int opt;

	opt = getopt_long(argc, argv, "h", options, NULL);
	if (opt != -1 || optind < argc)
		return cli_usage(opt == 'h' ? 'h' : '?');
	st = open_log(&a, &o, &err);
	if (st != ST_OK) {
		cli_say("%s", err.text);
		return CLI_FAILED;
	}
	st = audit_log(&a);
	if (st == ST_OK)
		code = audit_report(&a);
	else
		cli_say("cannot audit %s beyond id %" PRId64 ": %s",
		    cli->conf.database, a.expected_id - 1,
		    st == ST_MOVED ? "it was replaced meanwhile: run it again"
				   : store_reader_error(a.reader));
	forget_channels(&a);
	store_reader_close(&a.reader);
	return code;
}

const struct cli_command cli_audit = {
    .name = "audit",
    .summary = "prove that the log is whole",
    .help = help_text,
    .run = audit_run,
};
