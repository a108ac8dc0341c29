/* SPDX-License-Identifier: MIT */
/*
 * walcast reset-counters: asks pubd, which alone writes the status table, to
 * forget the counters of processes that have ended.  Waits for it for a bounded
 * time.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli_commands.h"
#include "cli_link.h"

#define TIMEOUT_US UINT64_C(10000000)

static const char help_text[] =
    "usage: walcast reset-counters [--yes]\n\n"
    "Sets the totals of all processes that have ended to zero, after one of\n"
    "them has spoilt them.  What runs goes on counting: restart pubd and the\n"
    "workers first if all is to begin at zero.  For root and the owner of the\n"
    "log.\n\n"
    "  -y, --yes  do not ask (it asks on a terminal only)\n";

static const struct option options[] = {
    {"yes", no_argument, NULL, 'y'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static enum cli_exit
reset_report(const struct wire_answer *answer)
{
	struct span why = answer->message;

	if (answer->ok == WIRE_OK) {
		(void)printf("the totals are reset\n");
		return cli_finish(CLI_OK);
	}
	cli_say("nothing was reset: %.*s", (int)why.len,
	    why.p == NULL ? "" : why.p);
	return CLI_FAILED;
}

static enum cli_exit
reset_ask(const struct cli *cli)
{
	enum cli_exit code = CLI_UNAVAILABLE;
	struct cli_answer answer;
	struct errmsg err = {""};

	if (cli_link_ask(cli->conf.socket, WIRE_RESET, TIMEOUT_US, &answer,
		&err) == ST_OK)
		code = reset_report(&answer.a);
	else
		cli_say("%s", err.text);
	cli_answer_fini(&answer);
	return code;
}

static enum cli_exit
reset_run(const struct cli *cli, int argc, char **argv)
{
	bool yes = false;
	int o;

	while ((o = getopt_long(argc, argv, "yh", options, NULL)) != -1) {
		if (o != 'y')
			return cli_usage(o);
		yes = true;
	}
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		return cli_usage('?');
	}
	if (!yes &&
	    !cli_confirm(
		"Forget all that processes counted that have ended?")) {
		cli_say("nothing was reset");
		return CLI_FAILED;
	}
	return reset_ask(cli);
}

const struct cli_command cli_reset = {
    .name = "reset-counters",
    .summary = "begin the totals of the metrics at zero",
    .help = help_text,
    .run = reset_run,
};
