/* SPDX-License-Identifier: MIT */
/*
 * What the load tools share: the clock, numbers from the command line,
 * descriptor limits, small files for scripts to wait for, a scan for one
 * number in JSON text.  Errors of set-up end the program with status 2.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TOOL_USAGE 2 /* exit status: usage or set-up error */

struct tool_opt {
	int id;           /* what tool_next_opt() returns */
	const char *name; /* long name, without the dashes */
	const char *arg;  /* name of the argument; NULL: a switch */
	const char *help; /* one sentence; NULL ends the table */
};

/* Prints the message and ends the program with status 2. */
void tool_die(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t tool_now_us(void);

/* The whole of `text` as a decimal number, or the program ends. */
uint64_t tool_u64(const char *what, const char *text);
double tool_double(const char *what, const char *text);

/* Leading decimal digits; *used is their count, 0 on overflow or none. */
uint64_t tool_digits(const char *p, size_t len, size_t *used);

/* Finds `"name":` in JSON text and reads the number after it. */
bool tool_json_u64(const char *json, size_t len, const char *name,
    uint64_t *value);

/* The string after `"name":"`, without unescaping; false: none. */
bool tool_json_str(const char *json, size_t len, const char *name,
    const char **str, size_t *str_len);

/* malloc that ends the program instead of failing; zeroed. */
void *tool_alloc(size_t n, size_t size);

/* Raises the soft limit of descriptors to `need`, or the program ends. */
void tool_need_fds(uint64_t need, uint64_t max);

/* Writes a file under another name and renames it into place. */
void tool_write_file(const char *path, const char *text);

/* CPU seconds of this process, user and system. */
double tool_cpu_s(void);

/*
 * The next option of argv by the table: its id, with *arg its argument;
 * 0 at the end; usage errors and --help end the program.
 */
int tool_next_opt(const char *tool, const struct tool_opt *opts, char **argv,
    int *at, const char **arg);

#endif
