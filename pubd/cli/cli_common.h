/* SPDX-License-Identifier: MIT */
/*
 * What the commands of walcast(1) share: how they end, how they speak, how
 * they read numbers and show times and sizes.
 */
#ifndef WALCAST_CLI_COMMON_H
#define WALCAST_CLI_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "program.h"
#include "span.h"
#include "status.h"
#include "store.h"

enum cli_exit {
	CLI_OK = PROGRAM_OK,
	CLI_FAILED = PROGRAM_FAILED,
	CLI_NOTHING = 2, /* nothing was found */
	CLI_USAGE = PROGRAM_USAGE,
	CLI_UNAVAILABLE = 69, /* EX_UNAVAILABLE: pubd does not answer */
	CLI_CONFIG = PROGRAM_CONFIG
};

/* What a command is given besides its arguments. */
struct cli {
	struct conf conf;
	const char *conf_name; /* the file that was read, or a description */
	enum status conf_st;   /* only `doctor` runs when it is not ST_OK */
	struct errmsg conf_err;
};

struct cli_command {
	const char *name;
	const char *summary; /* a line for the list of commands */
	const char *help;    /* synopsis and options */
	bool any_conf;       /* runs with a configuration that is broken, too */
	enum cli_exit (*run)(const struct cli *cli, int argc, char **argv);
};

/* The command that runs; named by cli_say. */
void cli_set_command(const struct cli_command *command);

/* A line on stderr, "walcast COMMAND: …", control characters escaped. */
void cli_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * The end of option parsing, for what getopt_long(3) returned: prints the
 * help for 'h', a pointer to it for anything else.
 */
enum cli_exit cli_usage(int option);

/*
 * Asks a yes-or-no question on the terminal and waits for the answer.  Without
 * a terminal there is nobody to ask: true.
 */
bool cli_confirm(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * Reads an argument as a number of min to max.  Returns false, with a message
 * on stderr, when it is none.
 */
bool cli_number(const char *what, const char *text, int64_t min, int64_t max,
    int64_t *out);

/* Options of the log as the configuration has them. */
struct store_options cli_store(const struct cli *cli);

/*
 * Writes to stdout and flushes it.
 * Returns  ST_OK, ST_END (whoever read it has gone: no error), ST_IO (said)
 */
MUST_USE enum status cli_write(struct span s);

/* Flushes stdout; `code`, or CLI_FAILED when that did not work (said). */
enum cli_exit cli_finish(enum cli_exit code);

/* Sleeps. */
void cli_pause_us(uint64_t us);

/*
 * Free space on the file system of the log's directory.  Returns false, with
 * errno, when it is not known.
 */
bool cli_free_bytes(const char *database, int64_t *out);

/* Is its directory on a file system that is mounted read-only? */
bool cli_read_only(const char *database);

#define CLI_TIME_BYTES 32
#define CLI_SIZE_BYTES 24

/* 2026-01-31T12:00:00.123Z */
const char *cli_time(char out[CLI_TIME_BYTES], int64_t ts_ms);

/* "12 s", "3 min", "5 h", "2 d" */
const char *cli_age(char out[CLI_SIZE_BYTES], int64_t age_ms);

/* "512 B", "1.5 MiB" */
const char *cli_size(char out[CLI_SIZE_BYTES], int64_t bytes);

/*
 * Pieces of a text, which remembers their failure (buf_finish).
 *
 * Text for a terminal: LF as \n, other control characters and what is
 * no UTF-8 as \xNN, what turns the direction of text as \uNNNN, so that no
 * event can forge a line, drive the terminal or read as another.
 */
void cli_add_visible(struct buf *out, struct span text);

/*
 * In JSON that was appended from the byte `from` on: writes such characters,
 * where JSON allows them unescaped, as \uNNNN.  The meaning stays the same.
 */
void cli_escape_json(struct buf *out, size_t from);

/* `,"name":"value"`; nothing when value is empty. */
void cli_add_member(struct buf *out, const char *name, struct span value);

#endif
