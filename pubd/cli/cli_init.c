/* SPDX-License-Identifier: MIT */
/*
 * walcast init: makes the log, or brings an older one up to this version, and
 * mends the modes.  What is there stays there.  Waits a bounded time for a
 * log that another program has locked.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_commands.h"
#include "clock.h"

#define BUSY_WAIT_US 10000000

static const char help_text[] =
    "usage: walcast init [--mode strict|open] [--group GROUP]\n\n"
    "Makes the log, or brings an older one up to this version, and sets the\n"
    "modes of its directory and files.  Events that are there stay there.\n\n"
    "  -m, --mode strict   only pubd writes: directory 2750, files 0640\n"
    "             open     the group may INSERT, too: 2770 and 0660\n"
    "                      (default: as the log is now; strict for a new one)\n"
    "  -g, --group GROUP   owner group of directory and files\n";

static const struct option options[] = {
    {"mode", required_argument, NULL, 'm'},
    {"group", required_argument, NULL, 'g'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool
parse_mode(const char *text, enum store_access *access)
{
	if (strcmp(text, "strict") == 0)
		*access = STORE_STRICT;
	else if (strcmp(text, "open") == 0)
		*access = STORE_OPEN;
	else {
		cli_say("--mode: \"%.40s\" is neither strict nor open", text);
		return false;
	}
	return true;
}

static enum status
create(const char *path, enum store_access access, const char *group,
    struct errmsg *err)
{
	uint64_t deadline = clock_mono_us() + BUSY_WAIT_US;
	enum status st;

	while ((st = store_create(path, access, group, err)) == ST_BUSY &&
	    clock_mono_us() < deadline)
		cli_pause_us(10000);
	return st;
}

static enum cli_exit
cli_init_report(const struct cli *cli, enum store_access access, bool was_there)
{
	struct store_options o = cli_store(cli);
	struct store_bounds b;
	struct errmsg err = {""};

	if (store_bounds_of(&o, &b, &err) != ST_OK) {
		cli_say("%s", err.text);
		return CLI_FAILED;
	}
	(void)printf("%s %s (%s), generation %s, head %lld, oldest %lld\n",
	    was_there ? "checked" : "made", cli->conf.database,
	    access == STORE_OPEN ? "open: the group may write"
				 : "strict: only the owner writes",
	    b.generation, (long long)b.head, (long long)b.oldest);
	return cli_finish(CLI_OK);
}

static enum cli_exit
cli_init_run(const struct cli *cli, int argc, char **argv)
{
	enum store_access access = STORE_STRICT;
	const char *group = NULL;
	struct errmsg err = {""};
	struct stat sb;
	bool was_there;
	enum status st;
	int o;

	was_there = stat(cli->conf.database, &sb) == 0;
	if (was_there && (sb.st_mode & S_IWGRP))
		access = STORE_OPEN;
	while ((o = getopt_long(argc, argv, "m:g:h", options, NULL)) != -1) {
		if (o == 'g')
			group = optarg;
		else if (o != 'm')
			return cli_usage(o);
		else if (!parse_mode(optarg, &access))
			return CLI_USAGE;
	}
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		return cli_usage('?');
	}
	st = create(cli->conf.database, access, group, &err);
	if (st != ST_OK) {
		cli_say("%s", err.text[0] != '\0' ? err.text : status_name(st));
		return CLI_FAILED;
	}
	return cli_init_report(cli, access, was_there);
}

const struct cli_command cli_init = {
    .name = "init",
    .summary = "make the log, or mend its version and modes",
    .help = help_text,
    .run = cli_init_run,
};
