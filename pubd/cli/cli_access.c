/* SPDX-License-Identifier: MIT */
/*
 * walcast access: who may do what by the access file, and by which line; and
 * of each line that does not allow it, why.  Asks nobody but the files.
 */
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "access_file.h"
#include "cli_commands.h"
#include "name.h"

#define MAX_LISTED 32 /* of each kind of thing that --as names */
#define NAME_BYTES 64

static const char help_text[] =
    "usage: walcast access [--as WHO]... read|publish CHANNEL...\n"
    "       walcast access [--as WHO]... report|revoke\n\n"
    "Says of each channel whether the access file allows it, by which line,\n"
    "or why none does.  Exits with 0 if all is allowed, with 1 if not.\n\n"
    "  -a, --as WHO       who asks, by commas; else somebody without a name:\n"
    "      user=NAME      a user of the web site\n"
    "      env:NAME=TEXT  a variable that the web server sets\n"
    "      token=PATTERN  a token with these channels\n"
    "      app=PATTERN    the application has allowed these channels\n"
    "      uid=USER       a process on this host, and its user's groups\n"
    "      gid=GROUP      one more group of the process\n";

static const struct option options[] = {
    {"as", required_argument, NULL, 'a'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct named_value {
	struct span name, value;
};

/* Whom --as describes. */
struct asker {
	struct access_person person;
	struct access_list of_token, of_app;
	size_t n_users, n_envs;
	struct span token[MAX_LISTED], app[MAX_LISTED];
	struct named_value env[MAX_LISTED];
	int64_t gid[4 * MAX_LISTED];
};

static struct span
asker_env(void *arg, struct span name)
{
	const struct asker *a = arg;
	size_t i;

	for (i = 0; i < a->n_envs; i++)
		if (span_eq(a->env[i].name, name))
			return a->env[i].value;
	return SPAN_NONE;
}

/* ---- --as ---------------------------------------------------------------- */

static bool
add_user(struct asker *a, struct span value)
{
	if (value.len == 0 || a->n_users == ACCESS_MAX_USERS)
		return false;
	a->person.user[a->n_users++] = value;
	return true;
}

static bool
add_env(struct asker *a, struct span text)
{
	const char *eq = span_find(text, '=');
	size_t n = eq == NULL ? 0 : (size_t)(eq - text.p);

	if (n == 0 || a->n_envs == MAX_LISTED)
		return false;
	a->env[a->n_envs++] = (struct named_value){span_of(text.p, n),
	    span_skip(text, n + 1)};
	return true;
}

static bool
add_vouched(struct access_list *l, struct span *room, struct span value)
{
	if (!name_pattern_ok(value) || l->n == MAX_LISTED)
		return false;
	room[l->n++] = value;
	l->pattern = room;
	return true;
}

static bool
add_gid(struct asker *a, int64_t gid)
{
	if (a->person.n_gids == sizeof(a->gid) / sizeof(a->gid[0]))
		return false;
	a->gid[a->person.n_gids++] = gid;
	return true;
}

/* A process has its user's groups, too. */
static bool
add_groups_of(struct asker *a, const struct passwd *pw)
{
	gid_t gid[MAX_LISTED];
	int i, n = MAX_LISTED;

	if (getgrouplist(pw->pw_name, pw->pw_gid, gid, &n) < 0)
		n = MAX_LISTED; /* it has more: as many as there is room for */
	for (i = 0; i < n; i++)
		if (!add_gid(a, (int64_t)gid[i]))
			return false;
	return true;
}

static bool
add_process(struct asker *a, struct span value)
{
	char name[NAME_BYTES];
	const struct passwd *pw;
	int64_t uid = -1;

	if (a->person.uid >= 0 || value.len >= sizeof(name))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)value.len, value.p);
	pw = span_to_int64(value, &uid) ? getpwuid((uid_t)uid) : getpwnam(name);
	if (pw != NULL)
		uid = (int64_t)pw->pw_uid;
	a->person.uid = uid;
	return uid >= 0 && uid < UINT32_MAX &&
	    (pw == NULL || add_groups_of(a, pw));
}

static bool
add_group(struct asker *a, struct span value)
{
	char name[NAME_BYTES];
	const struct group *gr;
	int64_t gid;

	if (value.len >= sizeof(name))
		return false;
	if (span_to_int64(value, &gid))
		return gid < UINT32_MAX && add_gid(a, gid);
	(void)snprintf(name, sizeof(name), "%.*s", (int)value.len, value.p);
	gr = getgrnam(name);
	return gr != NULL && add_gid(a, (int64_t)gr->gr_gid);
}

static bool
add_one(struct asker *a, struct span part)
{
	const char *eq = span_find(part, '=');
	size_t n = eq == NULL ? part.len : (size_t)(eq - part.p) + 1;
	struct span name = span_of(part.p, n), value = span_skip(part, n);

	if (span_starts(part, SPAN("env:")))
		return add_env(a, span_skip(part, 4));
	if (span_eq(name, SPAN("user=")))
		return add_user(a, value);
	if (span_eq(name, SPAN("token=")))
		return add_vouched(&a->of_token, a->token, value);
	if (span_eq(name, SPAN("app=")))
		return add_vouched(&a->of_app, a->app, value);
	if (span_eq(name, SPAN("uid=")))
		return add_process(a, value);
	return span_eq(name, SPAN("gid=")) && add_group(a, value);
}

/* Returns false, with a message, when it says nothing that we know. */
static bool
take_asker(struct asker *a, const char *text)
{
	struct span rest = span_str(text), part;

	while (span_cut(&rest, ',', &part)) {
		if (add_one(a, part))
			continue;
		cli_say("--as: \"%.*s\" is not understood, or there is no "
			"such user or group, or there are too many",
		    (int)(part.len < 80 ? part.len : 80), part.p);
		return false;
	}
	if (a->of_token.n > 0)
		a->person.token_read = a->person.token_publish = &a->of_token;
	if (a->of_app.n > 0)
		a->person.app = &a->of_app;
	return true;
}

/* ---- the verdict --------------------------------------------------------- */

struct inquiry {
	const struct access *rules;
	const struct access_person *person;
	enum access_op op;
};

static void
print_line(const struct inquiry *q, unsigned line)
{
	struct span text = access_line_text(q->rules, line);

	(void)printf("line %u: %.*s\n", line, (int)text.len, text.p);
}

static void
print_why(void *arg, unsigned line, enum access_outcome outcome)
{
	const struct inquiry *q = arg;

	(void)printf("  %s: ", access_outcome_words(outcome));
	print_line(q, line);
}

/* Is it allowed?  What it is about is at the beginning of the first line. */
static bool
inquire(struct inquiry *q, const char *about, struct span channel)
{
	struct access_verdict v = access_judge(q->rules, q->person, q->op,
	    channel);

	(void)printf("%s: ", about);
	if (v.allowed) {
		(void)printf("allowed by ");
		print_line(q, v.line);
		return true;
	}
	if (channel.p != NULL && name_reserved(channel)) {
		(void)printf("not allowed: what begins with system. or "
			     "control. is nobody's\n");
		return false;
	}
	if (q->person->uid == 0 &&
	    (q->op == ACCESS_REPORT || q->op == ACCESS_REVOKE)) {
		(void)printf("allowed without a line, as root\n");
		return true;
	}
	(void)printf("not allowed%s\n",
	    v.ask_app ? ", unless the application allows it" : "");
	access_explain(q->rules, q->person, q->op, channel, print_why, q);
	return false;
}

static enum cli_exit
inquire_all(struct inquiry *q, int n, char **channel)
{
	bool all = true;
	int i;

	if (q->op == ACCESS_REPORT || q->op == ACCESS_REVOKE)
		all = inquire(q, access_op_name(q->op), SPAN_NONE);
	for (i = 0; i < n; i++)
		all &= inquire(q, channel[i], span_str(channel[i]));
	return cli_finish(all ? CLI_OK : CLI_FAILED);
}

/* ---- the command --------------------------------------------------------- */

static bool
find_op(const char *word, enum access_op *op)
{
	int i;

	for (i = 0; i < ACCESS_OP_COUNT; i++)
		if (strcmp(word, access_op_name((enum access_op)i)) == 0) {
			*op = (enum access_op)i;
			return true;
		}
	cli_say("\"%.80s\" is none of read, publish, report and revoke", word);
	return false;
}

/* The words after the options. */
static bool
take_words(struct inquiry *q, int n, char **word)
{
	int i;

	if (n == 0) {
		cli_say("say what: read, publish, report or revoke");
		return false;
	}
	if (!find_op(word[0], &q->op))
		return false;
	if ((n > 1) == (q->op == ACCESS_REPORT || q->op == ACCESS_REVOKE)) {
		cli_say(n > 1 ? "%s names no channels" : "%s which channels?",
		    word[0]);
		return false;
	}
	for (i = 1; i < n; i++)
		if (!name_pattern_ok(span_str(word[i]))) {
			cli_say("\"%.200s\" is no channel, and no prefix",
			    word[i]);
			return false;
		}
	return true;
}

static enum cli_exit
access_run(const struct cli *cli, int argc, char **argv)
{
	struct asker who = {.person = {.uid = -1}};
	struct inquiry q = {.person = &who.person};
	struct access_file file;
	struct errmsg err = {""};
	enum cli_exit code;
	int o;

	who.person.env = asker_env;
	who.person.env_arg = &who;
	who.person.gid = who.gid;
	while ((o = getopt_long(argc, argv, "a:h", options, NULL)) != -1) {
		if (o != 'a')
			return cli_usage(o);
		if (!take_asker(&who, optarg))
			return CLI_USAGE;
	}
	if (!take_words(&q, argc - optind, argv + optind))
		return cli_usage('?');
	if (access_file_open(&file, &cli->conf, &err) != ST_OK) {
		cli_say("%s", err.text);
		return CLI_CONFIG;
	}
	if (!file.is_set) {
		cli_say("`access` is not set in %s: there are no rules, see "
			"access.conf(5)",
		    cli->conf_name);
		return CLI_CONFIG;
	}
	q.rules = file.rules;
	code = inquire_all(&q, argc - optind - 1, argv + optind + 1);
	access_file_close(&file);
	return code;
}

const struct cli_command cli_access = {
    .name = "access",
    .summary = "who may do what, and by which line of the access file",
    .help = help_text,
    .run = access_run,
};
