/* SPDX-License-Identifier: MIT */
/*
 * One line to stderr for each thing worth telling.  errno is preserved,
 * control bytes are escaped, so a peer cannot forge a line.
 */
#ifndef WALCAST_LOG_H
#define WALCAST_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

/* X(member, its name in a line and in walcast.conf), most severe first */
#define LOG_LEVELS(X)                                                          \
	X(LOG_ERROR_, "error")                                                 \
	X(LOG_WARN_, "warning")                                                \
	X(LOG_INFO_, "info")                                                   \
	X(LOG_DEBUG_, "debug")

#define LOG_FORMATS(X)                                                         \
	X(LOG_TEXT, "text")                                                    \
	X(LOG_JSON, "json")

#define LOG_MEMBER(member, name) member,
enum log_level { LOG_LEVELS(LOG_MEMBER) };
enum log_format { LOG_FORMATS(LOG_MEMBER) };
#undef LOG_MEMBER

/* program   a string that lives as long as the process */
void log_init(const char *program, enum log_format format,
    enum log_level level);

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2); /* adds strerror */
void log_warnx(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- events --------------------------------------------------------------
 * What happened to a stream or a publisher, with fields that can be searched:
 * `EVENT name=value name=value` in text, members of the object in JSON.
 * Never an event's payload, never a token.
 */

struct log_field {
	const char *name;
	struct span text; /* a field without text is left out */
	int64_t number;   /* when is_number */
	bool is_number;
};

#define LOG_STR(n, s) ((struct log_field){.name = (n), .text = (s)})
#define LOG_INT(n, v)                                                          \
	((struct log_field){.name = (n),                                       \
	    .number = (int64_t)(v),                                            \
	    .is_number = true})

/*
 * event   such as "stream.open"
 *
 * A field's text is cut at 512 bytes; fields for which the line (16 KiB) has
 * no room are left out.
 */
void log_fields(enum log_level level, const char *event,
    const struct log_field *fields, size_t n);

#define LOG_EVENT(level, event, ...)                                           \
	log_fields((level), (event), (const struct log_field[]){__VA_ARGS__},  \
	    sizeof((const struct log_field[]){__VA_ARGS__}) /                  \
		sizeof(struct log_field))

/* Would a line of this level be written? */
bool log_wants(enum log_level level);

/* The last error or warning that was written; ts_ms 0 when there was none. */
struct log_last {
	int64_t ts_ms;  /* Unix time */
	char text[256]; /* as in a line of text; cut to fit */
};
const struct log_last *log_last_error(void);

/*
 * ---- not too often ------------------------------------------------------ A
 * gate is for lines that a peer can cause: it lets so many through each second,
 * and says how many were left out when it opens again.
 */

struct log_gate {
	uint64_t since_us;
	unsigned n_passed;
	unsigned n_held;
};

/* May the line be written?  now_us is monotonic time. */
bool log_gate(struct log_gate *g, uint64_t now_us);

/*
 * For a line about a state that lasts: it is written when the state begins,
 * when its reason changes, and again each minute that it is still found.
 */
struct log_state {
	uint64_t told_us; /* when it was last written; 0: not in this state */
	int why;
};

/*
 * The state was found: may the line be written?
 *
 * why   the reason, such as an enum status; 0 where there is only one
 */
bool log_state(struct log_state *s, int why, uint64_t now_us);

/* The state has ended; finding it again begins a new one. */
void log_state_over(struct log_state *s);

/* lines a second for each gate, 10 by default; 0: no limit */
void log_limit(unsigned lines);

/* How many lines all gates have left out. */
uint64_t log_n_dropped(void);

#endif
