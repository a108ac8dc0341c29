/* SPDX-License-Identifier: MIT */
/*
 * walcast tail: shows events of the log, and with -f those to come.
 *
 * A position is the id after which it goes on, as a Last-Event-ID is.  The
 * log is read in pages, and nothing is written while one is open.  With -f it
 * looks for changes every tail_poll_ms, and at once when pubd rings; blocks
 * on stdout only.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli_commands.h"
#include "cli_event.h"
#include "cli_link.h"
#include "clock.h"
#include "name.h"
#include "store_keep.h"

#define PAGE_ROWS    1000
#define PAGE_BYTES   1048576      /* a page is written when it has that */
#define MAX_BYTES    (128u << 20) /* more than one event can take */
#define MAX_PATTERNS 64
#define DEFAULT_N    10
#define RECONNECT_US UINT64_C(1000000) /* to pubd */
#define REOPEN_US    UINT64_C(250000)  /* a log that went away */
#define BUSY_WAIT_US UINT64_C(10000000)
#define FROM_NEWEST  (-1)
#define FROM_NOW     (-2)
#define FROM_FIRST   (-3)

struct tail_command {
	const struct cli *cli;
	struct span patterns[MAX_PATTERNS];
	size_t n_patterns;
	int64_t from; /* a position, or FROM_* */
	int64_t left; /* so many events are still to be shown; -1: no end */
	bool follow, json;
	struct store_keep log;
	char generation[STORE_GENERATION_BYTES];
	int64_t position; /* everything up to here was considered */
	struct buf out;
	uint64_t n_shown;
	bool behind; /* a change was seen and not yet read to its end */
	struct sock_client link;
	uint64_t connect_us; /* when to try pubd next */
};

static const char help_text[] =
    "usage: walcast tail [-f] [-c PATTERN]... [--from ID|earliest|now]\n"
    "                    [-n N] [--json] [PATTERN]...\n\n"
    "Shows events of the log: the newest, or those after a position.\n\n"
    "  -c, --channel PATTERN  of these channels only; a trailing * is a\n"
    "                         prefix\n"
    "      --from ID          events after this id; earliest: all that are\n"
    "                         retained; now: only those to come\n"
    "  -n, --count N          the newest N (10); with --from: end after N\n"
    "  -f, --follow           go on with events to come\n"
    "  -j, --json             one JSON object a line\n";

enum { OPT_FROM = 256 };

static const struct option options[] = {
    {"channel", required_argument, NULL, 'c'},
    {"from", required_argument, NULL, OPT_FROM},
    {"count", required_argument, NULL, 'n'},
    {"follow", no_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- pages ------------------------------------------------------------- */

static enum store_verdict
want(void *arg, const struct event *e)
{
	const struct tail_command *t = arg;
	size_t i;

	if (t->left == 0)
		return STORE_STOP;
	if (t->n_patterns == 0)
		return STORE_TAKE;
	for (i = 0; i < t->n_patterns; i++)
		if (name_pattern_match(t->patterns[i], e->channel))
			return STORE_TAKE;
	return STORE_SKIP;
}

static enum status
take(void *arg, const struct event *e)
{
	struct tail_command *t = arg;
	size_t before = t->out.len;
	enum status st;

	if (before >= PAGE_BYTES)
		return ST_FULL;
	st = t->json ? cli_event_json(&t->out, e) : cli_event_text(&t->out, e);
	if (st != ST_OK) {
		buf_truncate(&t->out, before);
		return ST_NOMEM;
	}
	t->n_shown++;
	if (t->left > 0)
		t->left--;
	return ST_OK;
}

/* Says that retention has passed the position; ids up to `next` are gone. */
static void
cli_tail_tell_gap(struct tail_command *t, int64_t next)
{
	cli_say("position %" PRId64 ": %" PRId64 " events (%" PRId64
		" to %" PRId64
		") are no longer retained; going on from %" PRId64,
	    t->position, next - t->position - 1, t->position + 1, next - 1,
	    next);
}

/* There was nothing to read: have events been deleted? */
static enum status
check_bounds(struct tail_command *t)
{
	struct store_bounds b;
	enum status st = store_reader_bounds(t->log.reader, &b);

	if (st == ST_OK && b.oldest > t->position + 1) {
		cli_tail_tell_gap(t, b.oldest);
		t->position = b.oldest - 1;
	}
	return st;
}

static enum status
read_page(struct tail_command *t, bool *end)
{
	struct store_page page = {
	    .after_id = t->position,
	    .max_rows = PAGE_ROWS,
	    .want = want,
	    .take = take,
	    .arg = t,
	};
	enum status st;

	buf_clear(&t->out);
	st = store_read(t->log.reader, &page);
	*end = page.end || t->left == 0;
	if (page.first_id > t->position + 1)
		cli_tail_tell_gap(t, page.first_id);
	/* After a failure, what was taken is still good. */
	t->position = page.scanned_id;
	if (st == ST_OK && page.first_id == 0)
		st = check_bounds(t);
	return st;
}

/*
 * Shows all that is there.
 * Returns  ST_OK; ST_END: nobody reads stdout; else reading failed (not said)
 *          or ST_FULL: writing did (said)
 */
static enum status
drain(struct tail_command *t)
{
	bool end = false;
	enum status st = ST_OK, written;

	while (st == ST_OK && !end) {
		st = read_page(t, &end);
		written = cli_write(buf_span(&t->out));
		if (written != ST_OK)
			return written == ST_END ? ST_END : ST_FULL;
	}
	buf_shrink(&t->out, 2 * PAGE_BYTES);
	return st;
}

/* ---- the log ----------------------------------------------------------- */

static enum status
newest(struct tail_command *t, const struct store_bounds *b, int n)
{
	struct store_page page = {
	    .upto_id = b->head,
	    .max_rows = INT_MAX,
	    .want = want,
	    .arg = t,
	};

	if (n == 0 || b->head == 0) {
		t->position = b->head;
		return ST_OK;
	}
	return store_newest(t->log.reader, &page, n, &t->position);
}

static enum status
cli_tail_start(struct tail_command *t, int n)
{
	struct store_bounds b;
	enum status st = store_reader_bounds(t->log.reader, &b);

	if (st != ST_OK)
		return st;
	memcpy(t->generation, b.generation, sizeof(t->generation));
	switch (t->from) {
	case FROM_NEWEST:
		return newest(t, &b, n);
	case FROM_NOW:
		t->position = b.head;
		return ST_OK;
	case FROM_FIRST:
		t->position = b.oldest - 1;
		return ST_OK;
	default:
		break;
	}
	t->position = t->from;
	if (t->from > b.head) {
		cli_say("position %" PRId64
			" is ahead of the log, whose newest "
			"id is %" PRId64 ": it was made anew; going on from "
			"%" PRId64,
		    t->from, b.head, b.oldest);
		t->position = b.oldest - 1;
	}
	return ST_OK;
}

/* The log is open again, with these bounds: is it the same one? */
static void
resume(struct tail_command *t, const struct store_bounds *b)
{
	if (strcmp(t->generation, b->generation) != 0 ||
	    t->position > b->head) {
		cli_say("this is another log (generation %s, it was %s); going "
			"on from %" PRId64,
		    b->generation, t->generation, b->oldest);
		memcpy(t->generation, b->generation, sizeof(t->generation));
		t->position = b->oldest - 1;
	} else {
		cli_say("the log is back; going on from position %" PRId64,
		    t->position);
	}
}

/* ---- following --------------------------------------------------------- */

static void
connect_pubd(struct tail_command *t)
{
	const struct wire_watch watch = {.role = SPAN("tail"), .wake = true};
	uint64_t now = clock_mono_us();
	struct errmsg err;

	if (t->link.fd >= 0 || now < t->connect_us)
		return;
	t->connect_us = now + RECONNECT_US;
	if (cli_link_open(&t->link, t->cli->conf.socket, 1024, now, &err) !=
		ST_OK ||
	    wire_put_watch(&t->link.out, &watch) != ST_OK ||
	    sock_client_put(&t->link, SPAN("")) != ST_OK ||
	    sock_client_flush(&t->link) != ST_OK)
		sock_client_close(&t->link);
}

/* A wake is only a hint: what it says is ignored. */
static void
hear_pubd(struct tail_command *t)
{
	struct span line;
	enum status st = sock_client_receive(&t->link);

	while (st == ST_OK && sock_client_line(&t->link, &line) == ST_OK)
		continue;
	if (st != ST_OK && st != ST_AGAIN)
		sock_client_close(&t->link);
}

/* Waits for a ring or a poll interval.  ST_END: nobody reads stdout. */
static enum status
wait_a_while(struct tail_command *t)
{
	struct pollfd fds[2];

	connect_pubd(t);
	fds[0] = (struct pollfd){.fd = t->link.fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = STDOUT_FILENO};
	if (poll(fds, 2, (int)t->cli->conf.tail_poll_ms) < 0)
		return errno == EINTR ? ST_OK : ST_IO;
	if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
		return ST_END;
	if (fds[0].revents != 0)
		hear_pubd(t);
	return ST_OK;
}

/* Opens the log again when it can; why it cannot was said when it was lost. */
static void
reopen(struct tail_command *t)
{
	struct store_bounds b;
	struct errmsg err;

	if (store_keep_retry(&t->log, clock_mono_us(), &b, &err) == ST_OK)
		resume(t, &b);
}

/* Shows what is new, if anything is; a log that goes away is waited for. */
static enum status
look(struct tail_command *t)
{
	bool changed = false;
	struct errmsg why;
	enum status st;

	if (t->log.reader == NULL) {
		reopen(t);
		return ST_OK;
	}
	st = store_keep_look(&t->log, &changed);
	t->behind = t->behind || changed;
	if (st == ST_OK && t->behind) {
		st = drain(t);
		t->behind = st != ST_OK;
	}
	if (st == ST_END || st == ST_FULL)
		return st;
	if (store_keep_failed(&t->log, st, clock_mono_us(), &why))
		cli_say("lost the log %s: %s; trying again",
		    t->cli->conf.database, why.text);
	return ST_OK;
}

static enum status
follow(struct tail_command *t)
{
	enum status st = ST_OK;

	while (st == ST_OK && t->left != 0) {
		st = wait_a_while(t);
		if (st == ST_OK)
			st = look(t);
	}
	return st;
}

/* ---- the command ------------------------------------------------------- */

static enum cli_exit
cli_tail_end(struct tail_command *t, enum status st)
{
	enum cli_exit code = CLI_OK;

	if (st == ST_OK && t->n_shown == 0 && !t->follow)
		code = CLI_NOTHING;
	else if (st == ST_IO || st == ST_FULL || st == ST_NOMEM)
		code = CLI_FAILED;
	sock_client_close(&t->link);
	store_keep_fini(&t->log);
	buf_fini(&t->out);
	return code;
}

/* The first part: what is there.  A log that is busy is tried for a while. */
static enum status
cli_tail_show(struct tail_command *t, int n)
{
	uint64_t deadline = clock_mono_us() + BUSY_WAIT_US;
	enum status st;

	while ((st = cli_tail_start(t, n)) == ST_BUSY &&
	    clock_mono_us() < deadline)
		cli_pause_us(10000);
	while (st == ST_OK && (st = drain(t)) == ST_BUSY &&
	    clock_mono_us() < deadline) {
		cli_pause_us(10000);
		st = ST_OK;
	}
	if (st != ST_OK && st != ST_END && st != ST_FULL) {
		cli_say("cannot read the log %s: %s", t->cli->conf.database,
		    store_reader_error(t->log.reader));
		return ST_IO;
	}
	return st;
}

static enum cli_exit
tail(struct tail_command *t, int n)
{
	struct errmsg err = {""};
	enum status st;

	t->log = STORE_KEEP(cli_store(t->cli), REOPEN_US, REOPEN_US);
	st = store_keep_start(&t->log, NULL, BUSY_WAIT_US, &err);
	if (st != ST_OK) {
		cli_say("%s", err.text);
		return CLI_FAILED;
	}
	if (t->follow) {
		bool changed;

		/* From here on, changes are noticed. */
		status_ignore(store_reader_changed(t->log.reader, &changed));
	}
	st = cli_tail_show(t, n);
	if (st == ST_OK && t->follow)
		st = follow(t);
	return cli_tail_end(t, st);
}

static bool
add_pattern(struct tail_command *t, const char *text)
{
	if (!name_pattern_ok(span_str(text))) {
		cli_say("\"%.140s\" is not a channel, nor the beginning of one "
			"and *",
		    text);
		return false;
	}
	if (t->n_patterns == MAX_PATTERNS) {
		cli_say("no more than %d channels: use a prefix (orders.*)",
		    MAX_PATTERNS);
		return false;
	}
	t->patterns[t->n_patterns++] = span_str(text);
	return true;
}

static bool
set_from(struct tail_command *t, const char *text)
{
	if (strcmp(text, "now") == 0)
		t->from = FROM_NOW;
	else if (strcmp(text, "earliest") == 0 || strcmp(text, "0") == 0)
		t->from = FROM_FIRST;
	else
		return cli_number("--from", text, 0, INT64_MAX - 1, &t->from);
	return true;
}

static bool
cli_tail_set_option(struct tail_command *t, int o, int64_t *n)
{
	switch (o) {
	case 'c':
		return add_pattern(t, optarg);
	case 'n':
		return cli_number("-n", optarg, 0, INT_MAX, n);
	case OPT_FROM:
		return set_from(t, optarg);
	case 'f':
		t->follow = true;
		break;
	default: /* 'j' */
		t->json = true;
		break;
	}
	return true;
}

static enum cli_exit
cli_tail_run(const struct cli *cli, int argc, char **argv)
{
	static struct tail_command t = {
	    .from = FROM_NEWEST,
	    .left = -1,
	    .link = {.fd = -1},
	};
	int64_t n = -1;
	int o;

	t.cli = cli;
	buf_init(&t.out, MAX_BYTES);
	while ((o = getopt_long(argc, argv, "c:n:fjh", options, NULL)) != -1) {
		if (o == 'h' || o == '?')
			return cli_usage(o);
		if (!cli_tail_set_option(&t, o, &n))
			return CLI_USAGE;
	}
	for (; optind < argc; optind++)
		if (!add_pattern(&t, argv[optind]))
			return CLI_USAGE;
	if (t.from != FROM_NEWEST)
		t.left = n;
	return tail(&t, n < 0 ? DEFAULT_N : (int)n);
}

const struct cli_command cli_tail = {
    .name = "tail",
    .summary = "show events, those there are and those to come",
    .help = help_text,
    .run = cli_tail_run,
};
