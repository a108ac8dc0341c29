/* SPDX-License-Identifier: MIT */
/* The commands of walcast(1), one file each. */
#ifndef WALCAST_CLI_COMMANDS_H
#define WALCAST_CLI_COMMANDS_H

#include "cli_common.h"

extern const struct cli_command cli_access;
extern const struct cli_command cli_audit;
extern const struct cli_command cli_channels;
extern const struct cli_command cli_doctor;
extern const struct cli_command cli_init;
extern const struct cli_command cli_publish;
extern const struct cli_command cli_status;
extern const struct cli_command cli_tail;
extern const struct cli_command cli_trim;
extern const struct cli_command cli_reset;
extern const struct cli_command cli_revoke;
extern const struct cli_command cli_token;

#endif
