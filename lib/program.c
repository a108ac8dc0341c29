/* SPDX-License-Identifier: MIT */
/* Blocks on the configuration's file. */
#include "program.h"

#include <assert.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "signals.h"

static const struct program_option common_options[] = {
    {'c', "config", "FILE", "the configuration", NULL, NULL},
    {'n', NULL, NULL, "check configuration and log, then exit", NULL, NULL},
    {'V', "version", NULL, "print the version", NULL, NULL},
    {'h', "help", NULL, "print this", NULL, NULL},
};

#define N_COMMON      (sizeof(common_options) / sizeof(common_options[0]))
#define N_OPTIONS_MAX (N_COMMON + PROGRAM_OWN_OPTIONS)
#define LONG_ONLY     256 /* getopt_long's value of own option i: + i */

/* ---- the command line --------------------------------------------------- */

/* For getopt_long(3): what all programs have and what is this one's own. */
struct option_table {
	struct option longs[N_OPTIONS_MAX + 1];
	char shorts[2 * N_OPTIONS_MAX + 1];
	size_t n_longs, n_shorts;
};

static void
add_option(struct option_table *t, const struct program_option *o, int value)
{
	if (o->name != NULL)
		t->longs[t->n_longs++] = (struct option){.name = o->name,
		    .has_arg = o->argument == NULL ? no_argument
						   : required_argument,
		    .val = value};
	if (o->letter == '\0')
		return;
	t->shorts[t->n_shorts++] = o->letter;
	if (o->argument != NULL)
		t->shorts[t->n_shorts++] = ':';
}

static void
fill_options(struct option_table *t, const struct program *p)
{
	size_t i;

	assert(p->n_options <= PROGRAM_OWN_OPTIONS);
	memset(t, 0, sizeof(*t));
	for (i = 0; i < N_COMMON; i++)
		add_option(t, &common_options[i], common_options[i].letter);
	for (i = 0; i < p->n_options; i++)
		add_option(t, &p->options[i], LONG_ONLY + (int)i);
}

static void
print_option(FILE *out, const struct program_option *o)
{
	char letter[] = {'-', o->letter, '\0'};
	char text[64];

	(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s",
	    o->letter == '\0' ? "    " : letter,
	    o->letter != '\0' && o->name != NULL ? ", " : "",
	    o->name == NULL ? "" : "--", o->name == NULL ? "" : o->name,
	    o->argument == NULL ? "" : " ",
	    o->argument == NULL ? "" : o->argument);
	(void)fprintf(out, "  %-27s %s\n", text, o->sentence);
}

static void
program_print_help(const struct program *p, FILE *out)
{
	size_t i;

	(void)fprintf(out, "usage: %s [OPTION]...\n", p->name);
	for (i = 0; i < p->n_options; i++)
		print_option(out, &p->options[i]);
	for (i = 0; i < N_COMMON; i++)
		print_option(out, &common_options[i]);
	(void)fprintf(out,
	    "Without -c the configuration is $WALCAST_CONF, else\n"
	    "%s.\n%sSee %s(8) and walcast.conf(5).\n",
	    CONF_DEFAULT_PATH, p->note == NULL ? "" : p->note, p->name);
}

static const struct program_option *
own_option(const struct program *p, int c)
{
	size_t i;

	for (i = 0; i < p->n_options; i++)
		if (c == LONG_ONLY + (int)i || c == p->options[i].letter)
			return &p->options[i];
	return NULL;
}

/* Returns -1 to go on, else the exit status. */
static int
take_own_option(const struct program *p, int c)
{
	const struct program_option *o = own_option(p, c);

	if (o == NULL) {
		program_print_help(p, stderr);
		return PROGRAM_USAGE;
	}
	if (o->act != NULL)
		return o->act();
	*o->value = optarg;
	return -1;
}

static int
take_option(struct program *p, int c)
{
	switch (c) {
	case 'c':
		p->conf_path = optarg;
		return -1;
	case 'n':
		p->check_only = true;
		return -1;
	case 'V':
		program_print_version(p->name);
		return PROGRAM_OK;
	case 'h':
		program_print_help(p, stdout);
		return PROGRAM_OK;
	default:
		return take_own_option(p, c);
	}
}

static int
read_command_line(struct program *p, int argc, char **argv)
{
	struct option_table t;
	int c, rc = -1;

	fill_options(&t, p);
	while (rc < 0 &&
	    (c = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1)
		rc = take_option(p, c);
	if (rc >= 0 || optind >= argc)
		return rc;
	(void)fprintf(stderr, "%s: what is \"%.80s\"?\n", p->name,
	    argv[optind]);
	program_print_help(p, stderr);
	return PROGRAM_USAGE;
}

/* ---- the configuration -------------------------------------------------- */

static void
set_log(const struct program *p)
{
	log_init(p->name, (enum log_format)p->conf.log_format,
	    (enum log_level)p->conf.log_level);
	log_limit((unsigned)p->conf.log_rate);
}

bool
program_reload(struct program *p)
{
	const struct conf_row *row = NULL;
	struct errmsg err = {""};
	struct conf fresh;

	if (conf_load(&fresh, p->conf_path, &err) != ST_OK) {
		log_warnx("keeping the old configuration: %s", err.text);
		return false;
	}
	conf_merge(&p->conf, &fresh, p->conf_user);
	set_log(p);
	while (
	    (row = conf_unmerged(&p->conf, &fresh, p->conf_user, row)) != NULL)
		log_warnx("%s has changed: restart %s for it", row->key,
		    p->name);
	log_info("configuration read again");
	return true;
}

/* ---- running ------------------------------------------------------------ */

static void
say_failure(enum status st, const struct errmsg *err)
{
	log_error("%s", err->text[0] != '\0' ? err->text : status_name(st));
}

static int
check_only(const struct program *p)
{
	struct errmsg err = {""};
	enum status st;

	conf_dump(&p->conf, stdout);
	(void)fflush(stdout);
	st = p->check(&p->conf, &err);
	if (st == ST_OK)
		return ferror(stdout) ? PROGRAM_FAILED : PROGRAM_OK;
	say_failure(st, &err);
	return PROGRAM_CONFIG;
}

static int
program_serve(struct program *p)
{
	struct errmsg err = {""};
	enum status st = p->serve(p, &err);

	if (st != ST_OK)
		say_failure(st, &err);
	return st == ST_OK ? PROGRAM_OK : PROGRAM_FAILED;
}

int
program_main(struct program *p, int argc, char **argv)
{
	struct errmsg err = {""};
	enum status st = ST_OK;
	int rc;

	program_fill_std_fds();
	rc = read_command_line(p, argc, argv);
	if (rc >= 0)
		return rc;
	log_init(p->name, LOG_TEXT, LOG_INFO_);
	/* Before it takes any time: a HUP must not end one that just starts. */
	if (!p->check_only)
		st = signals_block();
	if (st != ST_OK) {
		say_failure(st, &err);
		return PROGRAM_FAILED;
	}
	st = conf_load(&p->conf, p->conf_path, &err);
	if (st != ST_OK) {
		say_failure(st, &err);
		return PROGRAM_CONFIG;
	}
	set_log(p);
	return p->check_only ? check_only(p) : program_serve(p);
}

void
program_fill_std_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

void
program_print_version(const char *name)
{
	(void)printf("%s " WALCAST_VERSION "\n", name);
}
