/* SPDX-License-Identifier: MIT */
/*
 * The life of a daemon or server, the same for all: command line,
 * configuration, -n, log, signals, HUP, exit status.  A main.c fills in a
 * struct program with what is particular to it and calls program_main().
 *
 *   1. descriptors 0 to 2 that are closed are filled
 *   2. options; what is wrong, an argument left over too, ends it with 64
 *   3. signals are held back (signals.h), but for -n
 *   4. the configuration; what is wrong ends it with 78
 *   5. the log is as the configuration says
 *   6. with -n: all keys are printed, the log is checked (0 or 78), the end
 *   7. `serve` runs until the end
 *
 * walcast(1), a command line with subcommands, shares the parts.
 */
#ifndef WALCAST_PROGRAM_H
#define WALCAST_PROGRAM_H

#include <stdbool.h>
#include <stdio.h>

#include "conf.h"
#include "status.h"

/* Of sysexits(3), where they have a meaning of their own. */
enum program_exit {
	PROGRAM_OK = 0,
	PROGRAM_FAILED = 1,  /* it was tried and did not work */
	PROGRAM_USAGE = 64,  /* EX_USAGE: the command line is wrong */
	PROGRAM_CONFIG = 78, /* EX_CONFIG: the configuration, or the log's */
};

#define PROGRAM_OWN_OPTIONS 4

/* An option of this program alone; exactly one of value and act is set. */
struct program_option {
	char letter; /* '\0': it has a name only */
	const char *name;
	const char *argument; /* as the help calls it; NULL: it has none */
	const char *sentence; /* for the help, 50 characters at most */
	const char **value;   /* where the argument goes */
	int (*act)(void);     /* done at once; its exit status is ours */
};

struct program {
	const char *name; /* in the log, in the help, of its manual */
	enum conf_user conf_user;
	const struct program_option *options; /* PROGRAM_OWN_OPTIONS */
	size_t n_options;
	const char *note; /* more lines for the help, or NULL */
	/* -n: can it work with this log? */
	enum status (*check)(const struct conf *c, struct errmsg *err);
	/* Until it is told to end; err may stay empty. */
	enum status (*serve)(struct program *p, struct errmsg *err);

	/* The rest is set by program_main. */
	struct conf conf; /* changes in program_reload only */
	const char *conf_path;
	bool check_only;
};

/* Returns the exit status.  argc: how many of the arguments to believe. */
int program_main(struct program *p, int argc, char **argv);

/*
 * HUP: reads the configuration again.  Keys that may change while running are
 * copied to p->conf (those of the log take effect at once); other keys of this
 * program that have changed are named in the log.  A file with an error changes
 * nothing.
 *
 * Returns  whether it was read: then what was copied out of p->conf has to be
 *          copied again
 */
bool program_reload(struct program *p);

/*
 * Opens those of descriptors 0 to 2 that are closed, or a file of ours would
 * get their number.
 */
void program_fill_std_fds(void);

/* The line for -V. */
void program_print_version(const char *name);

#endif
