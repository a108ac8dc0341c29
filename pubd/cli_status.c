/* SPDX-License-Identifier: MIT */
/*
 * walcast status: what the log holds and which processes serve it, from the
 * log and from status.db.  With --check one line and an exit code as
 * monitoring plugins give them.  Asks nobody, so it works while pubd is down.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli_commands.h"
#include "clock.h"
#include "jsontext.h"
#include "statusdb.h"

#define MAX_BYTES (64u << 20)
#define WAL_BYTES (INT64_C(256) << 20) /* larger: something holds it open */

struct report {
	bool json;
	int64_t now_ms;
	struct store_bounds b;
	int64_t db_bytes, wal_bytes;
	enum status log_st, status_st; /* of the log, of status.db */
	struct errmsg log_err, status_err;
	struct buf rows;   /* the processes, as they are to be shown */
	struct buf totals; /* counters of those that are gone, JSON */
	enum status rows_st;
	int64_t n_pubd, n_workers, n_dead, streams; /* live ones, by role */
	int64_t pubd_age_ms;
};

static const char help_text[] =
    "usage: walcast status [--json | --check]\n\n"
    "Tells what the log holds and which processes serve it.\n\n"
    "  -j, --json    as one JSON object\n"
    "      --check   one line and an exit code for monitoring: 0 all is well,\n"
    "                1 warning, 2 critical\n";

enum { OPT_CHECK = 256 };

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"check", no_argument, NULL, OPT_CHECK},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- gathering --------------------------------------------------------------
 */

static int64_t
file_bytes(const char *path, const char *suffix)
{
	char name[CONF_PATH_MAX + 8];
	struct stat sb;

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &sb) == 0 ? (int64_t)sb.st_size : 0;
}

static void
gather_log(struct report *r, const struct cli *cli)
{
	struct store_options o = cli_store(cli);
	struct store_reader *reader = NULL;

	r->log_st = store_reader_open(&reader, &o, &r->log_err);
	if (r->log_st == ST_OK) {
		r->log_st = store_reader_bounds(reader, &r->b);
		if (r->log_st != ST_OK)
			errmsg_set(&r->log_err, "cannot read the log %s: %s",
			    o.path, store_reader_error(reader));
	}
	store_reader_close(&reader);
	r->db_bytes = file_bytes(o.path, "");
	r->wal_bytes = file_bytes(o.path, "-wal");
}

static bool
is_alive(const struct report *r, const struct statusdb_row *row)
{
	return r->now_ms <= row->seen_ms + row->lease_ms;
}

static void
count(struct report *r, const struct statusdb_row *row)
{
	if (!is_alive(r, row)) {
		r->n_dead++;
		return;
	}
	r->streams += row->streams;
	if (span_eq(row->role, SPAN("pubd"))) {
		r->n_pubd++;
		r->pubd_age_ms = r->now_ms - row->seen_ms;
	} else {
		r->n_workers++;
	}
}

/* For printf's %*.*s: at most n bytes. */
static int
shown(struct span s, int n)
{
	return s.len > (size_t)n ? n : (int)s.len;
}

static enum status
put_text(struct report *r, const struct statusdb_row *row)
{
	char up[CLI_SIZE_BYTES], seen[CLI_SIZE_BYTES], line[160];
	enum status st = ST_OK;

	if (r->rows.len == 0)
		st = buf_append(&r->rows,
		    SPAN("\nROLE         PID  VERSION         UP   SEEN AGO"
			 "  STREAMS        HEAD      CURSOR\n"));
	(void)snprintf(line, sizeof(line),
	    "%-8.*s %7" PRId64 "  %-8.*s %9s  %9s  %7" PRId64 "  %10" PRId64
	    "  %10" PRId64 "%s",
	    shown(row->role, 8), row->role.p, row->pid, shown(row->version, 8),
	    row->version.p, cli_age(up, r->now_ms - row->started_ms),
	    cli_age(seen, r->now_ms - row->seen_ms), row->streams, row->head,
	    row->cursor, is_alive(r, row) ? "" : "  DEAD");
	if (st == ST_OK)
		st = cli_put_visible(&r->rows, span_str(line));
	return st == ST_OK ? buf_append(&r->rows, SPAN("\n")) : st;
}

static enum status
put_json(struct report *r, const struct statusdb_row *row)
{
	struct buf *out = &r->rows;
	enum status st = ST_OK;

	if (out->len > 0)
		st = buf_append(out, SPAN(","));
	if (st == ST_OK)
		st = buf_append(out, SPAN("{\"name\":"));
	if (st == ST_OK)
		st = jsontext_quote(out, row->name);
	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"role\":"));
	if (st == ST_OK)
		st = jsontext_quote(out, row->role);
	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"version\":"));
	if (st == ST_OK)
		st = jsontext_quote(out, row->version);
	if (st == ST_OK)
		st = buf_printf(out,
		    ",\"pid\":%" PRId64 ",\"started_ms\":%" PRId64
		    ",\"seen_ms\":%" PRId64 ",\"age_ms\":%" PRId64
		    ",\"alive\":%s,\"head\":%" PRId64 ",\"cursor\":%" PRId64
		    ",\"streams\":%" PRId64 ",\"counters\":",
		    row->pid, row->started_ms, row->seen_ms,
		    r->now_ms - row->seen_ms,
		    is_alive(r, row) ? "true" : "false", row->head, row->cursor,
		    row->streams);
	if (st == ST_OK)
		st = buf_append(out, row->counters);
	return st == ST_OK ? buf_append(out, SPAN("}")) : st;
}

static void
add_row(void *arg, const struct statusdb_row *row)
{
	struct report *r = arg;

	if (span_eq(row->name, SPAN(STATUSDB_TOTALS))) {
		if (r->rows_st == ST_OK)
			r->rows_st = buf_append(&r->totals, row->counters);
		return;
	}
	count(r, row);
	if (r->rows_st == ST_OK)
		r->rows_st = r->json ? put_json(r, row) : put_text(r, row);
}

static void
gather_status(struct report *r, const struct cli *cli)
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

/* ---- showing
 * ------------------------------------------------------------------ */

static void
show_rows(const struct report *r)
{
	if (r->rows.len > 0)
		(void)fwrite(buf_span(&r->rows).p, 1, r->rows.len, stdout);
}

static void
show_text(const struct report *r, const struct cli *cli)
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
show_json(const struct report *r)
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
show(const struct report *r, const struct cli *cli)
{
	if (r->log_st != ST_OK) {
		cli_say("%s", r->log_err.text);
		return CLI_FAILED;
	}
	if (r->rows_st != ST_OK) {
		cli_say("too many processes to show: %s",
		    status_name(r->rows_st));
		return CLI_FAILED;
	}
	if (r->json)
		show_json(r);
	else
		show_text(r, cli);
	return cli_finish(CLI_OK);
}

/* ---- checking
 * ------------------------------------------------------------------ */

/* What is wrong, the worst first; the code, 0 when nothing is. */
static int
judge(const struct report *r, const struct conf *c, struct errmsg *why)
{
	char size[CLI_SIZE_BYTES];

	if (r->log_st != ST_OK) {
		*why = r->log_err;
		return 2;
	}
	if (r->status_st != ST_OK) {
		*why = r->status_err;
		return 2;
	}
	if (r->n_pubd == 0) {
		errmsg_set(why,
		    "pubd does not run or does not report: start "
		    "it, look at its log");
		return 2;
	}
	if (r->n_dead > 0)
		errmsg_set(why,
		    "%" PRId64 " processes have not reported in "
		    "time",
		    r->n_dead);
	else if (r->wal_bytes > WAL_BYTES)
		errmsg_set(why,
		    "the WAL has %s: a reader keeps a transaction "
		    "open",
		    cli_size(size, r->wal_bytes));
	else if (c->retain_bytes > 0 && r->db_bytes / 2 > c->retain_bytes)
		errmsg_set(why,
		    "the log has %s, more than twice retain_bytes: "
		    "VACUUM it, or see why retention lags",
		    cli_size(size, r->db_bytes));
	else
		return 0;
	return 1;
}

static enum cli_exit
check(const struct report *r, const struct cli *cli)
{
	static const char *const names[] = {"OK", "WARNING", "CRITICAL"};
	struct errmsg why = {""};
	char age[CLI_SIZE_BYTES];
	int code = judge(r, &cli->conf, &why);

	if (code == 0)
		errmsg_set(&why, "pubd seen %s ago, %" PRId64 " workers",
		    cli_age(age, r->pubd_age_ms), r->n_workers);
	(void)printf("WALCAST %s - %s | streams=%" PRId64 " head=%" PRId64
		     " events=%" PRId64 " database=%" PRId64 "B wal=%" PRId64
		     "B\n",
	    names[code], why.text, r->streams, r->b.head,
	    r->log_st == ST_OK ? r->b.head - r->b.oldest + 1 : 0, r->db_bytes,
	    r->wal_bytes);
	return cli_finish((enum cli_exit)code);
}

static enum cli_exit
run(const struct cli *cli, int argc, char **argv)
{
	struct report r = {.now_ms = clock_real_ms()};
	enum cli_exit code;
	bool checking = false;
	int o;

	while ((o = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (o == 'j')
			r.json = true;
		else if (o == OPT_CHECK)
			checking = true;
		else
			return cli_usage(o);
	}
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		return cli_usage('?');
	}
	buf_init(&r.rows, MAX_BYTES);
	buf_init(&r.totals, MAX_BYTES);
	gather_log(&r, cli);
	gather_status(&r, cli);
	code = checking ? check(&r, cli) : show(&r, cli);
	buf_fini(&r.rows);
	buf_fini(&r.totals);
	return code;
}

const struct cli_command cli_status = {
    .name = "status",
    .summary = "what the log holds, who serves it",
    .help = help_text,
    .run = run,
};
