/* SPDX-License-Identifier: MIT */
/*
 * walcast(1): the command line for people, cron and scripts.  Reads the
 * configuration and hands over to one of the commands (cli_*.c).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli_commands.h"
#include "program.h"

static const struct cli_command *const commands[] = {
    &cli_init,
    &cli_publish,
    &cli_tail,
    &cli_status,
    &cli_channels,
    &cli_trim,
    &cli_reset,
    &cli_access,
    &cli_revoke,
    &cli_token,
    &cli_audit,
    &cli_doctor,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct option walcast_options[] = {
    {"config", required_argument, NULL, 'C'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static void
print_help(FILE *out)
{
	size_t i;

	(void)fprintf(out,
	    "usage: walcast [-C FILE] COMMAND [ARGUMENT]...\n"
	    "       walcast COMMAND --help | -h | -V\n\n");
	for (i = 0; i < N_COMMANDS; i++)
		(void)fprintf(out, "  %-14s %s\n", commands[i]->name,
		    commands[i]->summary);
	(void)fprintf(out,
	    "\n  -C, --config FILE   configuration; else $WALCAST_CONF, else\n"
	    "                      " CONF_DEFAULT_PATH "\n");
}

static const struct cli_command *
find_command(const char *name)
{
	size_t i;

	for (i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

/* `walcast help` and `walcast help COMMAND`. */
static enum cli_exit
help(const char *name)
{
	const struct cli_command *c;

	if (name == NULL) {
		print_help(stdout);
		return cli_finish(CLI_OK);
	}
	c = find_command(name);
	if (c == NULL) {
		cli_say("there is no command \"%.80s\": see `walcast help`",
		    name);
		return CLI_USAGE;
	}
	cli_set_command(c);
	return cli_usage('h');
}

static void
load(struct cli *cli, const char *path)
{
	cli->conf_name = conf_file(path);
	cli->conf_st = conf_load(&cli->conf, path, &cli->conf_err);
}

static enum cli_exit
walcast_run(const char *conf_path, int argc, char **argv)
{
	static struct cli cli;
	static char program[64];
	const struct cli_command *c;

	if (strcmp(argv[0], "help") == 0)
		return help(argv[1]);
	c = find_command(argv[0]);
	if (c == NULL) {
		cli_say("there is no command \"%.80s\": see `walcast help`",
		    argv[0]);
		return CLI_USAGE;
	}
	cli_set_command(c);
	load(&cli, conf_path);
	if (cli.conf_st != ST_OK && !c->any_conf) {
		cli_say("%s", cli.conf_err.text);
		return CLI_CONFIG;
	}
	/* getopt(3) speaks in the name of argv[0]. */
	(void)snprintf(program, sizeof(program), "walcast %s", c->name);
	argv[0] = program;
	optind = 0; /* starts afresh */
	return c->run(&cli, argc, argv);
}

int
main(int argc, char **argv)
{
	const char *conf_path = NULL;
	int o;

	program_fill_std_fds();
	(void)signal(SIGPIPE, SIG_IGN);
	while ((o = getopt_long(argc, argv, "+C:hV", walcast_options, NULL)) !=
	    -1) {
		switch (o) {
		case 'C':
			conf_path = optarg;
			break;
		case 'h':
			return help(NULL);
		case 'V':
			program_print_version("walcast");
			return cli_finish(CLI_OK);
		default:
			print_help(stderr);
			return CLI_USAGE;
		}
	}
	if (optind == argc) {
		print_help(stderr);
		return CLI_USAGE;
	}
	return walcast_run(conf_path, argc - optind, argv + optind);
}
