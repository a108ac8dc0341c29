/* SPDX-License-Identifier: MIT */
#include "cli_commands.h"

static enum cli_exit
run(const struct cli *cli, int argc, char **argv)
{
	(void)cli, (void)argc, (void)argv;
	cli_say("not there yet");
	return CLI_FAILED;
}

const struct cli_command cli_status = {
    .name = "status",
    .summary = "",
    .help = "",
    .run = run,
};
