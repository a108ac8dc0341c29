/* SPDX-License-Identifier: MIT */
/*
 * walcast doctor: checks everything that has to be right on this host and says
 * how to mend what is not.  Changes nothing.  Waits for pubd for a bounded
 * time.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access_file.h"
#include "cli_commands.h"
#include "cli_link.h"
#include "clock.h"
#include "metrics.h"
#include "sock.h"
#include "statusdb.h"
#include "token_keys.h"
#include "trust.h"

#define PING_US         UINT64_C(5000000)
#define MIN_FREE_BYTES  (INT64_C(16) << 20)
#define WARN_FREE_BYTES (INT64_C(256) << 20)
#define USER_BYTES      64
#define OWN_FDS         100 /* of a worker, besides its streams */

/* X(MEMBER, its word in a line) */
#define LEVELS(X) X(OK, "ok") X(WARN, "warn") X(FAIL, "FAIL")

enum level {
#define X(member, word) LEVEL_##member,
	LEVELS(X)
#undef X
};

struct doctor {
	const struct cli *cli;
	int n_warn, n_fail;
	struct store_bounds b; /* of the log; generation "" when unknown */
	int64_t now_ms;
	int64_t pubd_pid, pubd_age_ms; /* the freshest row; pid 0: none */
	bool pubd_alive;
	int64_t refused_uid; /* whose reports it refuses now; -1: nobody's */
};

static const char help_text[] =
    "usage: walcast doctor\n\n"
    "Checks configuration, modes, log, socket, pubd, disk and limits, and\n"
    "says what to do.  Exits with 1 when something fails.\n";

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void say(struct doctor *d, enum level level, const char *what,
    const char *fmt, ...) PRINTF_LIKE(4, 5);

static void
say(struct doctor *d, enum level level, const char *what, const char *fmt, ...)
{
	static const char *const names[] = {
#define X(member, word) word,
	    LEVELS(X)
#undef X
	};
	va_list ap;

	d->n_warn += level == LEVEL_WARN;
	d->n_fail += level == LEVEL_FAIL;
	(void)printf("%-4s  %-13s ", names[level], what);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)printf("\n");
}

/* ---- what can be wrong ------------------------------------------------- */

static void
check_configuration(struct doctor *d)
{
	const struct conf *c = &d->cli->conf;

	if (d->cli->conf_st != ST_OK) {
		say(d, LEVEL_FAIL, "configuration", "%s",
		    d->cli->conf_err.text);
		return;
	}
	if (access(d->cli->conf_name, F_OK) == 0)
		say(d, LEVEL_OK, "configuration", "%s", d->cli->conf_name);
	else
		say(d, LEVEL_OK, "configuration",
		    "built-in defaults (there is no %s)", d->cli->conf_name);
	if (c->retain_events == 0 && c->retain_age_s == 0 &&
	    c->retain_bytes == 0)
		say(d, LEVEL_WARN, "retention",
		    "nothing is ever deleted: set retain_events, retain_age_s "
		    "or retain_bytes, or run `walcast trim` from cron");
	if (c->synchronous != CONF_SYNC_FULL)
		say(d, LEVEL_WARN, "synchronous",
		    "normal: a power loss takes acknowledged events and gives "
		    "their ids out again: set it to full");
}

static void
check_modes(struct doctor *d)
{
	struct errmsg err = {""};
	struct stat sb;

	if (store_check_modes(d->cli->conf.database, &err) != ST_OK) {
		say(d, LEVEL_FAIL, "modes", "%s", err.text);
		return;
	}
	if (stat(d->cli->conf.database, &sb) == 0)
		say(d, LEVEL_OK, "modes", "%s",
		    sb.st_mode & S_IWGRP ? "open: the group may INSERT"
					 : "strict: publishing by socket only");
}

static void
check_log(struct doctor *d)
{
	struct store_options o = cli_store(d->cli);
	struct store_reader *r = NULL;
	struct errmsg err = {""};
	enum status st = store_reader_open(&r, &o, &err);

	if (st == ST_OK) {
		st = store_reader_bounds(r, &d->b);
		if (st != ST_OK)
			errmsg_set(&err,
			    "cannot read %s: %s: see `walcast audit`", o.path,
			    store_reader_error(r));
	}
	if (st == ST_OK)
		st = store_reader_examine(r, &err);
	store_reader_close(&r);
	if (st == ST_OK)
		say(d, LEVEL_OK, "log",
		    "%s, generation %s, head %" PRId64 ", oldest %" PRId64,
		    o.path, d->b.generation, d->b.head, d->b.oldest);
	else
		say(d, LEVEL_FAIL, "log", "%s", err.text);
}

/* Is a socket there at all? */
static bool
check_socket(struct doctor *d)
{
	const char *path = d->cli->conf.socket;
	struct stat sb;

	if (lstat(path, &sb) < 0) {
		say(d, LEVEL_FAIL, "socket",
		    "cannot find %s: %s: start pubd, "
		    "or set `socket` to where it listens",
		    path, strerror(errno));
		return false;
	}
	if (!S_ISSOCK(sb.st_mode)) {
		say(d, LEVEL_FAIL, "socket",
		    "%s is no socket: remove it and restart pubd", path);
		return false;
	}
	if ((int64_t)(sb.st_mode & 0777) != d->cli->conf.socket_mode)
		say(d, LEVEL_WARN, "socket",
		    "%s has mode %04o, socket_mode is %04" PRIo64
		    ": restart pubd",
		    path, (unsigned)(sb.st_mode & 0777),
		    (uint64_t)d->cli->conf.socket_mode);
	else
		say(d, LEVEL_OK, "socket", "%s, mode %04o", path,
		    (unsigned)(sb.st_mode & 0777));
	return true;
}

static void
judge_ping(struct doctor *d, const struct wire_answer *answer)
{
	if (answer->ok != WIRE_OK || answer->head < 0)
		say(d, LEVEL_FAIL, "pubd",
		    "it answers, but cannot use its log: look at its log "
		    "messages");
	else if (d->b.generation[0] != '\0' &&
	    !span_eq(answer->generation, span_str(d->b.generation)))
		say(d, LEVEL_FAIL, "pubd",
		    "it serves another log than %s: restart it, and look "
		    "whether both have the same configuration",
		    d->cli->conf.database);
	else
		say(d, LEVEL_OK, "pubd", "answers, head %" PRId64,
		    answer->head);
}

static void
check_pubd(struct doctor *d)
{
	struct cli_answer answer;
	struct errmsg err = {""};

	if (cli_link_ask(d->cli->conf.socket, WIRE_PING, PING_US, &answer,
		&err) == ST_OK)
		judge_ping(d, &answer.a);
	else
		say(d, LEVEL_FAIL, "pubd", "%s", err.text);
	cli_answer_fini(&answer);
}

static void
see_row(void *arg, const struct status_row *row)
{
	struct doctor *d = arg;
	int64_t age_ms = statusdb_age_ms(row, d->now_ms);
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0;

	if (!span_eq(row->role, SPAN("pubd")) ||
	    (d->pubd_pid != 0 && age_ms > d->pubd_age_ms))
		return;
	d->pubd_pid = row->pid;
	d->pubd_age_ms = age_ms;
	d->pubd_alive = statusdb_is_live(row, d->now_ms);
	d->refused_uid = -1;
	if (metrics_read(&f, METRICS_GAUGES, row->gauges, &n_unknown) ==
		ST_OK &&
	    f.known[METRIC_REPORTS_FORBIDDEN_UID])
		d->refused_uid = (int64_t)f.cell[METRIC_REPORTS_FORBIDDEN_UID];
}

static void
check_heartbeat(struct doctor *d)
{
	struct statusdb *s = NULL;
	struct errmsg err = {""};
	char age[CLI_SIZE_BYTES];
	enum status st;

	st = statusdb_open(&s, d->cli->conf.database, false, &err);
	d->now_ms = clock_real_ms();
	if (st == ST_OK) {
		st = statusdb_each(s, see_row, d);
		errmsg_set(&err, "cannot read status.db: %s: restart pubd",
		    status_name(st));
	}
	statusdb_close(&s);
	if (st != ST_OK)
		say(d, LEVEL_FAIL, "heartbeat", "%s", err.text);
	else if (d->pubd_pid == 0)
		say(d, LEVEL_FAIL, "heartbeat",
		    "pubd has not reported: start it, or look at its log");
	else
		say(d, d->pubd_alive ? LEVEL_OK : LEVEL_FAIL, "heartbeat",
		    "pubd (pid %" PRId64 ") was seen %s ago%s", d->pubd_pid,
		    cli_age(age, d->pubd_age_ms),
		    d->pubd_alive ? "" : ": it has died or hangs: restart it");
}

/* The user's name, or the number. */
static const char *
user_name(char out[USER_BYTES], int64_t uid)
{
	const struct passwd *pw = getpwuid((uid_t)uid);

	if (pw != NULL)
		(void)snprintf(out, USER_BYTES, "%s", pw->pw_name);
	else
		(void)snprintf(out, USER_BYTES, "%" PRId64, uid);
	return out;
}

/* Root, the owner of the log, users that are named, and lines that say so. */
static void
list_reporters(const struct conf *c, char *out, size_t size)
{
	struct trust t = {.owner = -1};
	char name[USER_BYTES];
	size_t i, n;

	trust_look(&t, c->database);
	trust_name(&t, span_str(c->report_users));
	n = (size_t)snprintf(out, size, "root");
	if (t.owner > 0)
		n += (size_t)snprintf(out + n, size - n, ", %s",
		    user_name(name, t.owner));
	for (i = 0; i < t.n_named && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, ", %s",
		    user_name(name, t.named[i]));
	if (c->access[0] != '\0' && n < size)
		(void)snprintf(out + n, size - n,
		    ", and whom a line `report` of %s is for", c->access);
}

static void
check_reports(struct doctor *d)
{
	char list[1024], name[USER_BYTES];

	list_reporters(&d->cli->conf, list, sizeof(list));
	if (d->pubd_alive && d->refused_uid >= 0)
		say(d, LEVEL_WARN, "reports",
		    "pubd refuses those of user %s, whose metrics are "
		    "missing: if workers of yours run as that user, put "
		    "`report_users = %s` into %s and reload pubd (now they "
		    "are taken from %s)",
		    user_name(name, d->refused_uid), name, d->cli->conf_name,
		    list);
	else
		say(d, LEVEL_OK, "reports", "are taken from %s", list);
}

static void
say_odd_line(void *arg, unsigned line, const char *text)
{
	struct doctor *d = arg;

	say(d, LEVEL_WARN, "access", "%s:%u: %s", d->cli->conf.access, line,
	    text);
}

/* Lines that can allow nothing, since what they need is not set. */
static void
check_lines_in_vain(struct doctor *d, const struct access *rules)
{
	const struct conf *c = &d->cli->conf;

	if (c->token_keys[0] == '\0' && access_has_kind(rules, ACCESS_TOKEN))
		say(d, LEVEL_WARN, "access",
		    "%s has lines for tokens, which allow nothing as long as "
		    "token_keys is not set",
		    c->access);
	if (c->authorizer[0] == '\0' && access_has_kind(rules, ACCESS_APP))
		say(d, LEVEL_WARN, "access",
		    "%s has lines for the application, which allow nothing as "
		    "long as authorizer is not set",
		    c->access);
}

static void
check_access(struct doctor *d)
{
	struct access_file f;
	struct errmsg err = {""};

	if (access_file_open(&f, &d->cli->conf, &err) != ST_OK) {
		say(d, LEVEL_FAIL, "access", "%s", err.text);
	} else if (!f.is_set) {
		say(d, LEVEL_OK, "access",
		    "is not set: whoever reaches the workers reads all, "
		    "whoever may open the socket publishes; see "
		    "access.conf(5)");
	} else {
		say(d, LEVEL_OK, "access", "%s, %zu rules", d->cli->conf.access,
		    access_n_rules(f.rules));
		access_warnings(f.rules, say_odd_line, d);
		check_lines_in_vain(d, f.rules);
	}
	access_file_close(&f);
}

static void
check_token_keys(struct doctor *d)
{
	const char *path = d->cli->conf.token_keys, *odd;
	struct token_keys *keys = NULL;
	struct errmsg err = {""};

	if (path[0] == '\0')
		return;
	if (token_keys_open(&keys, path, &err) != ST_OK) {
		say(d, LEVEL_FAIL, "token_keys", "%s", err.text);
		return;
	}
	odd = token_keys_warning(keys);
	if (odd != NULL)
		say(d, LEVEL_WARN, "token_keys", "%s: %s", path, odd);
	else
		say(d, LEVEL_OK, "token_keys", "%s, %zu keys", path,
		    token_keys_count(keys));
	token_keys_free(&keys);
}

static void
check_disk(struct doctor *d)
{
	char path[CONF_PATH_MAX], size[CLI_SIZE_BYTES];
	const char *dir;
	int64_t left;

	(void)snprintf(path, sizeof(path), "%s", d->cli->conf.database);
	dir = dirname(path);
	if (!cli_free_bytes(d->cli->conf.database, &left)) {
		say(d, LEVEL_FAIL, "disk", "cannot look at %s: %s", dir,
		    strerror(errno));
		return;
	}
	(void)cli_size(size, left);
	if (cli_read_only(d->cli->conf.database))
		say(d, LEVEL_FAIL, "disk",
		    "%s is mounted read-only: look at the kernel's messages "
		    "for why, and mount it read-write",
		    dir);
	else if (left < MIN_FREE_BYTES)
		say(d, LEVEL_FAIL, "disk",
		    "%s is left in %s: publishers are refused when it is "
		    "full: make room",
		    size, dir);
	else if (left < WARN_FREE_BYTES)
		say(d, LEVEL_WARN, "disk",
		    "%s is left in %s: make room, or lower retain_bytes", size,
		    dir);
	else
		say(d, LEVEL_OK, "disk", "%s is left in %s", size, dir);
}

static void
check_descriptors(struct doctor *d)
{
	int64_t limit = (int64_t)sock_raise_fd_limit();
	int64_t need = d->cli->conf.max_streams + OWN_FDS;

	if (limit < need)
		say(d, LEVEL_WARN, "descriptors",
		    "the hard limit here is %" PRId64
		    ", max_streams needs %" PRId64
		    ": raise it for the workers (LimitNOFILE=, "
		    "ulimit -Hn), or lower max_streams",
		    limit, need);
	else
		say(d, LEVEL_OK, "descriptors",
		    "the hard limit here is %" PRId64
		    ", max_streams needs %" PRId64,
		    limit, need);
}

/* ---- the command ------------------------------------------------------- */

static enum cli_exit
doctor_run(const struct cli *cli, int argc, char **argv)
{
	struct doctor d = {.cli = cli, .refused_uid = -1};
	int o = getopt_long(argc, argv, "h", options, NULL);

	if (o != -1 || optind < argc)
		return cli_usage(o == 'h' ? 'h' : '?');
	check_configuration(&d);
	if (cli->conf_st != ST_OK)
		return cli_finish(CLI_CONFIG);
	check_modes(&d);
	check_log(&d);
	if (check_socket(&d))
		check_pubd(&d);
	check_heartbeat(&d);
	check_reports(&d);
	check_access(&d);
	check_token_keys(&d);
	check_disk(&d);
	check_descriptors(&d);
	if (d.n_fail > 0 || d.n_warn > 0)
		(void)printf("%d failed, %d to be looked at\n", d.n_fail,
		    d.n_warn);
	return cli_finish(d.n_fail > 0 ? CLI_FAILED : CLI_OK);
}

const struct cli_command cli_doctor = {
    .name = "doctor",
    .summary = "find what is wrong on this host",
    .help = help_text,
    .any_conf = true,
    .run = doctor_run,
};
