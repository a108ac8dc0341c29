/* SPDX-License-Identifier: MIT */
/*
 * One line to stderr for each thing worth telling.  errno is preserved,
 * control bytes are escaped, so a peer cannot forge a line.
 */
#ifndef WALCAST_LOG_H
#define WALCAST_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"

enum log_level { LOG_ERROR_, LOG_WARN_, LOG_INFO_, LOG_DEBUG_ };

enum log_format { LOG_TEXT, LOG_JSON };

/* program   a string that lives as long as the process */
void log_init(const char *program, enum log_format format,
    enum log_level level);

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2); /* adds strerror */
void log_warnx(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * A gate for lines that a peer can drive: at most ten lines a second; when
 * it opens again it says how many were left out.
 */
struct log_gate {
	uint64_t since_us;
	unsigned n_passed;
	unsigned n_held;
};

bool log_gate(struct log_gate *g, uint64_t now_us);

#endif
