/* SPDX-License-Identifier: MIT */
/*
 * walcast status: what the log holds and which processes serve it, from the log
 * and from status.db.  With --check one line and an exit code as monitoring
 * plugins give them.  Talks to no process, so it works while pubd is down.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli_check.h"
#include "cli_commands.h"
#include "clock.h"
#include "jsontext.h"
#include "metrics.h"
#include "statusdb.h"

#define MAX_BYTES (64u << 20)

struct status_report {
	bool json, checking;
	struct check check;
	int64_t now_ms;
	struct store_bounds b;
	int64_t db_bytes, wal_bytes;
	enum status log_st, status_st; /* of the log, of status.db */
	struct errmsg log_err, status_err;
	struct buf rows;   /* the processes, as they are to be shown */
	struct buf totals; /* counters of those that are gone, JSON */
	int64_t n_pubd, n_workers, n_dead, streams; /* live ones, by role */
};

static const char help_text[] =
    "usage: walcast status [--json]\n"
    "       walcast status --check [--warn-WHAT N] [--crit-WHAT N]...\n\n"
    "Tells what the log holds and which processes serve it.\n\n"
    "  -j, --json    as one JSON object\n"
    "      --check   one line and an exit code for monitoring: 0 all is well,\n"
    "                1 warning, 2 critical, 3 it cannot be told\n\n"
    "WHAT has a limit for a warning and one for critical; N of 0: none.\n"
    "  age      seconds since pubd wrote its heartbeat, at most      5   10\n"
    "  ping     seconds since pubd answered on its socket, at most   5   10\n"
    "  lag      events that a stream is behind, at most          10000    0\n"
    "  disk     MiB of room for the log, at least                  256   16\n"
    "  wal      MiB of write-ahead file, at most                   256    0\n"
    "  fds      percent of a process's descriptors, at most         80   95\n"
    "  workers  worker processes that run, at least                  0    0\n";

enum { OPT_CHECK = 256, OPT_LIMIT };

#define LIMIT_OPTIONS(member, word)                                            \
	{"warn-" word, required_argument, NULL, OPT_LIMIT},                    \
	    {"crit-" word, required_argument, NULL, OPT_LIMIT},

/* check_option() knows the names. */
static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"check", no_argument, NULL, OPT_CHECK},
    {"help", no_argument, NULL, 'h'},
    CHECK_METRIC_LIST(LIMIT_OPTIONS) /* two of each */
    {NULL, 0, NULL, 0},
};

/* ---- gathering ---------------------------------------------------------- */

static void
gather_log(struct status_report *r, const struct cli *cli)
{
	struct store_options o = cli_store(cli);

	o.for_show = true;
	r->log_st = store_bounds_of(&o, &r->b, &r->log_err);
	store_file_sizes(o.path, &r->db_bytes, &r->wal_bytes);
}

/* Of all processes the worst counts. */
static void
raise_to(struct check *c, enum check_metric f, uint64_t value)
{
	if (!c->known[f] || (int64_t)value > c->value[f])
		check_set(c, f, (int64_t)value);
}

static void
count_gauges(struct check *c, const struct status_row *row)
{
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0;

	if (metrics_read(&f, METRICS_GAUGES, row->gauges, &n_unknown) != ST_OK)
		return;
	if (f.known[METRIC_LAG_MAX])
		raise_to(c, CHECK_LAG, f.cell[METRIC_LAG_MAX]);
	if (f.known[METRIC_FDS_PERMILLE])
		raise_to(c, CHECK_FDS, f.cell[METRIC_FDS_PERMILLE] / 10);
}

/* An older pubd does not say. */
static void
note_ping(struct check *c, const struct status_row *row, int64_t age_ms)
{
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0;

	c->known[CHECK_PING] = false;
	if (metrics_read(&f, METRICS_GAUGES, row->gauges, &n_unknown) ==
		ST_OK &&
	    f.known[METRIC_PING_AGE])
		check_set(c, CHECK_PING,
		    (int64_t)f.cell[METRIC_PING_AGE] + age_ms);
}

/* The age is that of the freshest, alive or not. */
static void
count_pubd(struct status_report *r, const struct status_row *row)
{
	struct check *c = &r->check;
	int64_t age_ms = statusdb_age_ms(row, r->now_ms);

	r->n_pubd += statusdb_is_live(row, r->now_ms) ? 1 : 0;
	if (c->known[CHECK_AGE] && age_ms >= c->value[CHECK_AGE])
		return;
	check_set(c, CHECK_AGE, age_ms);
	note_ping(c, row, age_ms);
}

static void
count_row(struct status_report *r, const struct status_row *row)
{
	if (span_eq(row->role, SPAN("pubd")))
		count_pubd(r, row);
	if (!statusdb_is_live(row, r->now_ms)) {
		r->n_dead++;
		return;
	}
	r->streams += row->streams;
	if (span_eq(row->role, SPAN("worker")))
		r->n_workers++;
	count_gauges(&r->check, row);
}

/* For printf's %*.*s: at most n bytes. */
static int
shown(struct span s, int n)
{
	return s.len > (size_t)n ? n : (int)s.len;
}

static void
add_row_text(struct status_report *r, const struct status_row *row)
{
	char up[CLI_SIZE_BYTES], seen[CLI_SIZE_BYTES], line[160];

	if (r->rows.len == 0)
		buf_add(&r->rows,
		    SPAN("\nROLE         PID  VERSION         UP   SEEN AGO"
			 "  STREAMS        HEAD      CURSOR\n"));
	(void)snprintf(line, sizeof(line),
	    "%-8.*s %7" PRId64 "  %-8.*s %9s  %9s  %7" PRId64 "  %10" PRId64
	    "  %10" PRId64 "%s",
	    shown(row->role, 8), row->role.p, row->pid, shown(row->version, 8),
	    row->version.p, cli_age(up, r->now_ms - row->started_ms),
	    cli_age(seen, statusdb_age_ms(row, r->now_ms)), row->streams,
	    row->head, row->cursor,
	    statusdb_is_live(row, r->now_ms) ? "" : "  DEAD");
	cli_add_visible(&r->rows, span_str(line));
	buf_add(&r->rows, SPAN("\n"));
}

static void
add_row_json(struct status_report *r, const struct status_row *row)
{
	struct buf *out = &r->rows;
	size_t from = out->len;

	if (out->len > 0)
		buf_add(out, SPAN(","));
	buf_add(out, SPAN("{\"name\":"));
	jsontext_add_quoted(out, row->name);
	buf_add(out, SPAN(",\"role\":"));
	jsontext_add_quoted(out, row->role);
	buf_add(out, SPAN(",\"version\":"));
	jsontext_add_quoted(out, row->version);
	buf_addf(out,
	    ",\"pid\":%" PRId64 ",\"started_ms\":%" PRId64
	    ",\"seen_ms\":%" PRId64 ",\"age_ms\":%" PRId64
	    ",\"alive\":%s,\"head\":%" PRId64 ",\"cursor\":%" PRId64
	    ",\"streams\":%" PRId64 ",\"counters\":",
	    row->pid, row->started_ms, row->seen_ms,
	    statusdb_age_ms(row, r->now_ms),
	    statusdb_is_live(row, r->now_ms) ? "true" : "false", row->head,
	    row->cursor, row->streams);
	buf_add(out, row->counters);
	buf_add(out, SPAN(",\"gauges\":"));
	buf_add(out, row->gauges);
	buf_add(out, SPAN("}"));
	cli_escape_json(out, from);
}

static void
add_row(void *arg, const struct status_row *row)
{
	struct status_report *r = arg;

	if (span_eq(row->name, SPAN(STATUSDB_TOTALS))) {
		buf_add(&r->totals, row->counters);
		return;
	}
	count_row(r, row);
	if (r->json)
		add_row_json(r, row);
	else
		add_row_text(r, row);
}

static void
gather_status(struct status_report *r, const struct cli *cli)
{
	struct statusdb *s = NULL;

	r->status_st = statusdb_open(&s, cli->conf.database, false,
	    &r->status_err);
	if (r->status_st == ST_OK) {
		r->status_st = statusdb_each(s, add_row, r);
		if (r->status_st != ST_OK)
			errmsg_set(&r->status_err,
			    "cannot read status.db beside %s: %s: restart pubd",
			    cli->conf.database, status_name(r->status_st));
	}
	statusdb_close(&s);
}

/* ---- showing ------------------------------------------------------------ */

static void
show_rows(const struct status_report *r)
{
	if (r->rows.len > 0)
		(void)fwrite(buf_span(&r->rows).p, 1, r->rows.len, stdout);
}

static void
show_text(const struct status_report *r, const struct cli *cli)
{
	char db[CLI_SIZE_BYTES], wal[CLI_SIZE_BYTES];

	(void)printf("log         %s\n"
		     "generation  %s\n"
		     "head        %" PRId64 "\n"
		     "oldest      %" PRId64 " (%" PRId64 " events retained)\n"
		     "size        %s, and %s of WAL\n"
		     "streams     %" PRId64 "\n",
	    cli->conf.database, r->b.generation, r->b.head, r->b.oldest,
	    r->b.head - r->b.oldest + 1, cli_size(db, r->db_bytes),
	    cli_size(wal, r->wal_bytes), r->streams);
	show_rows(r);
	if (r->status_st != ST_OK)
		(void)printf("\n%s\n", r->status_err.text);
	else if (r->n_pubd == 0)
		(void)printf("\npubd does not run: start it\n");
}

static void
show_json(const struct status_report *r)
{
	(void)printf("{\"generation\":\"%s\",\"head\":%" PRId64
		     ",\"oldest\":%" PRId64 ",\"events\":%" PRId64
		     ",\"database_bytes\":%" PRId64 ",\"wal_bytes\":%" PRId64
		     ",\"streams\":%" PRId64 ",\"pubd\":%s,\"processes\":[",
	    r->b.generation, r->b.head, r->b.oldest,
	    r->b.head - r->b.oldest + 1, r->db_bytes, r->wal_bytes, r->streams,
	    r->n_pubd > 0 ? "true" : "false");
	show_rows(r);
	(void)printf("],\"totals\":%.*s}\n",
	    r->totals.len == 0 ? 2 : (int)r->totals.len,
	    r->totals.len == 0 ? "{}" : buf_span(&r->totals).p);
}

static enum cli_exit
status_show(const struct status_report *r, const struct cli *cli)
{
	enum status st;

	if (r->log_st != ST_OK) {
		cli_say("%s", r->log_err.text);
		return CLI_FAILED;
	}
	st = buf_status(&r->rows);
	if (st == ST_OK)
		st = buf_status(&r->totals);
	if (st != ST_OK) {
		cli_say("too many processes to show: %s", status_name(st));
		return CLI_FAILED;
	}
	if (r->json)
		show_json(r);
	else
		show_text(r, cli);
	return cli_finish(CLI_OK);
}

/* ---- checking ----------------------------------------------------------- */

/* When the file may not or cannot be read, the level is unknown. */
static enum check_level
level_of(enum status st, const char *database)
{
	bool unknown = st == ST_DENIED || st == ST_UNSAFE || st == ST_NOMEM ||
	    (access(database, R_OK) < 0 && errno == EACCES);

	return unknown ? CHECK_UNKNOWN : CHECK_CRITICAL;
}

static void
judge_state(struct status_report *r, const struct conf *c)
{
	struct check *ck = &r->check;
	char size[CLI_SIZE_BYTES];

	if (r->log_st != ST_OK)
		check_problem(ck, level_of(r->log_st, c->database), "%s",
		    r->log_err.text);
	else if (r->status_st != ST_OK)
		check_problem(ck, level_of(r->status_st, c->database), "%s",
		    r->status_err.text);
	else if (!ck->known[CHECK_AGE])
		check_problem(ck, CHECK_CRITICAL,
		    "pubd does not run or does not report: start it, look at "
		    "its log");
	else if (r->n_pubd > 0 && r->n_dead > 0)
		check_problem(ck, CHECK_WARNING,
		    "%" PRId64 " processes have not reported in time",
		    r->n_dead);
	if (c->retain_bytes > 0 && r->db_bytes / 2 > c->retain_bytes)
		check_problem(ck, CHECK_WARNING,
		    "the log has %s, more than twice retain_bytes: VACUUM it, "
		    "or see why retention lags",
		    cli_size(size, r->db_bytes));
}

static void
set_metrics(struct status_report *r, const struct conf *c)
{
	int64_t free_bytes;

	if (cli_free_bytes(c->database, &free_bytes))
		check_set(&r->check, CHECK_DISK, free_bytes);
	if (r->log_st == ST_OK)
		check_set(&r->check, CHECK_WAL, r->wal_bytes);
	/* Without pubd nobody keeps the rows of the workers. */
	if (r->n_pubd > 0)
		check_set(&r->check, CHECK_WORKERS, r->n_workers);
}

static enum cli_exit
put_check(struct status_report *r, const char *well, const char *more)
{
	enum check_level level = CHECK_UNKNOWN;
	struct buf line;

	buf_init(&line, MAX_BYTES);
	if (check_put(&r->check, well, more, &line, &level) == ST_OK)
		(void)printf("%.*s\n", (int)line.len, buf_span(&line).p);
	else
		(void)printf("WALCAST UNKNOWN - out of memory\n");
	buf_fini(&line);
	return cli_finish((enum cli_exit)level);
}

static enum cli_exit
status_check(struct status_report *r, const struct cli *cli)
{
	char well[160], more[160], age[CLI_SIZE_BYTES];

	set_metrics(r, &cli->conf);
	judge_state(r, &cli->conf);
	(void)snprintf(well, sizeof(well),
	    "pubd seen %s ago, %" PRId64 " workers, %" PRId64 " streams",
	    cli_age(age, r->check.value[CHECK_AGE]), r->n_workers, r->streams);
	(void)snprintf(more, sizeof(more),
	    "streams=%" PRId64 " head=%" PRId64 " events=%" PRId64
	    " database=%" PRId64 "B",
	    r->streams, r->b.head,
	    r->log_st == ST_OK ? r->b.head - r->b.oldest + 1 : 0, r->db_bytes);
	return put_check(r, well, more);
}

/* ---- the command -------------------------------------------------------- */

/* Returns 0, 'h' when help is asked for, '?' when something is wrong (said). */
static int
parse(struct status_report *r, int argc, char **argv)
{
	int o, i = 0, result = 0;

	while ((o = getopt_long(argc, argv, "jh", options, &i)) != -1) {
		if (o == 'h')
			return 'h';
		if (o == 'j')
			r->json = true;
		else if (o == OPT_CHECK)
			r->checking = true;
		else if (o != OPT_LIMIT)
			result = '?';
		else if (!check_option(&r->check, options[i].name, optarg)) {
			cli_say("--%s: \"%.80s\" is not a whole number from 0 "
				"on, or too large",
			    options[i].name, optarg);
			result = '?';
		}
	}
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		result = '?';
	}
	return result;
}

/* A monitoring system takes any other exit status as critical. */
static enum cli_exit
give_up(struct status_report *r, const char *why)
{
	check_problem(&r->check, CHECK_UNKNOWN, "%s", why);
	return put_check(r, "", "");
}

static enum cli_exit
status_look(struct status_report *r, const struct cli *cli)
{
	enum cli_exit code;

	buf_init(&r->rows, MAX_BYTES);
	buf_init(&r->totals, MAX_BYTES);
	gather_log(r, cli);
	gather_status(r, cli);
	code = r->checking ? status_check(r, cli) : status_show(r, cli);
	buf_fini(&r->rows);
	buf_fini(&r->totals);
	return code;
}

static enum cli_exit
status_run(const struct cli *cli, int argc, char **argv)
{
	struct status_report r = {.now_ms = clock_real_ms()};
	int wrong;

	check_init(&r.check);
	wrong = parse(&r, argc, argv);
	if (wrong == '?' && r.checking)
		return give_up(&r,
		    "the command line is wrong: see `walcast status --help`");
	if (wrong != 0)
		return cli_usage(wrong);
	if (cli->conf_st == ST_OK)
		return status_look(&r, cli);
	if (r.checking)
		return give_up(&r, cli->conf_err.text);
	cli_say("%s", cli->conf_err.text);
	return CLI_CONFIG;
}

const struct cli_command cli_status = {
    .name = "status",
    .summary = "what the log holds, who serves it",
    .help = help_text,
    .any_conf = true,
    .run = status_run,
};
