/* SPDX-License-Identifier: MIT */
/*
 * What our own programs and pubd say to each other: each line's encoder
 * stands beside its decoder, and a decoder gives back what the encoder was
 * given.  Publishers' requests are pubd/protocol.h's; walcast-protocol(7) is
 * the manual of both.  Pure.
 *
 *   to pubd
 *   {"op":"ping"}
 *   {"op":"reset_counters"}
 *   {"op":"watch","role":S,"timing":true,"wake":false}
 *   {"op":"report","name":S,"role":S,"pid":N,"version":S,"started_ms":N,
 *    "head":N,"cursor":N,"streams":N,"counters":{..},"gauges":{..},
 *    "error_ms":N,"error":S}
 *   {"op":"span","name":"dispatch","trace":S,"channel":S,"type":S,
 *    "start_us":N,"end_us":N,"id":N,"bytes":N,"streams":N}
 *   from pubd
 *   {"ok":true,"id":N,"duplicate":true}
 *   {"ok":true,"head":N,"oldest":N,"generation":S,"trace":true}
 *   {"ok":false,"error":S,"message":S,"index":N,"retry_ms":N}
 *   {"head":N,"at_us":N}
 *
 * S is a string, N a whole number from 0 to 2^63 - 1.  In reports and spans a
 * number that is missing is 0 and an object that is missing is empty; what is
 * optional otherwise the structs say.  Unknown members are ignored, of two
 * with one name the last counts.
 *
 * Encoders append a line without its newline, and return ST_OK, ST_FULL or
 * ST_NOMEM; on failure nothing was appended.  Decoders take a line that
 * jsontext_check has passed (wire_get_answer checks it itself) and make spans
 * into it and into the memory of v.
 */
#ifndef WALCAST_WIRE_H
#define WALCAST_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "metrics.h"
#include "span.h"
#include "status.h"
#include "status_row.h"

#define WIRE_MAX_METRICS 16384 /* bytes of the counters, of the gauges */
#define WIRE_MAX_METRIC  ((uint64_t)1 << 53) /* each */
#define WIRE_MAX_ERROR   255                 /* bytes; more is cut */
#define WIRE_MAX_REPORT  (32 * 1024)         /* room for any report of ours */

/*
 * A process that may not report asks again this often, in case pubd's
 * configuration was corrected.
 */
#define WIRE_ASK_AGAIN_MS 60000

struct values;

/*
 * Is it the role of a process that reports?  pubd does not: it writes its row
 * itself, and that shows that it lives.
 */
bool wire_role_ok(struct span role);

/* ---- requests without anything else ------------------------------------ */

#define WIRE_PING  SPAN("{\"op\":\"ping\"}")
#define WIRE_RESET SPAN("{\"op\":\"reset_counters\"}")

/* ---- watch -------------------------------------------------------------- */

struct wire_watch {
	struct span role; /* as what it watches; none: as anybody may */
	bool timing;      /* tell when commits were, and whether to trace */
	bool wake;        /* tell of commits */
};

MUST_USE enum status wire_put_watch(struct buf *out,
    const struct wire_watch *w);

/* A role that is written with escapes, or is no string, is none. */
void wire_get_watch(struct span line, struct wire_watch *out);

/* ---- reports ------------------------------------------------------------ */

/* What a process reports about itself; its name is role-pid-started_ms. */
struct wire_report {
	struct span role, version;
	int64_t pid;
	int64_t started_ms; /* Unix time */
	int64_t head;       /* newest id of the log that it knows */
	int64_t cursor;     /* newest id that it has handed on */
	int64_t streams;    /* open now */
	const struct metrics *metrics;
	int64_t error_ms; /* Unix time of its last error; 0: it had none */
	struct span error;
};

MUST_USE enum status wire_put_report(struct buf *out,
    const struct wire_report *r);

/*
 * A report as it was read, ready to be stored: a row of the status table, with
 * seen_ms and lease_ms still to be set.  Unknown members are left out of the
 * counters and gauges and all else is bounded, so that nobody can put into the
 * table what does not belong there.
 */
struct wire_reported {
	struct status_row row;
	unsigned n_unknown; /* metrics that were left out */
};

/* Returns ST_OK, ST_NOMEM, or ST_INVALID with a sentence in *why. */
MUST_USE enum status wire_get_report(struct values *v, struct span line,
    struct wire_reported *out, struct errmsg *why);

/* ---- spans -------------------------------------------------------------- */

/* A worker's dispatch of an event that is traced. */
struct wire_span {
	struct span trace;         /* the event's traceparent */
	struct span channel, type; /* of the event */
	int64_t start_us, end_us;  /* Unix time */
	int64_t id, bytes;         /* the event's; bytes of its data */
	int64_t streams;           /* that it was for */
};

MUST_USE enum status wire_put_span(struct buf *out, const struct wire_span *s);

/* Returns as wire_get_report. */
MUST_USE enum status wire_get_span(struct values *v, struct span line,
    struct wire_span *out, struct errmsg *why);

/* ---- answers ------------------------------------------------------------ */

enum wire_ok {
	WIRE_NEWS, /* no answer: a watcher is told of a new head */
	WIRE_OK,
	WIRE_FAILED
};

/*
 * A line of pubd's.  Numbers are -1 and spans none when it does not have
 * them: begin with WIRE_ANSWER_NONE.  The ids of an array, which only
 * publishers see, are not here.
 */
struct wire_answer {
	enum wire_ok ok;
	int64_t id; /* of the event that was stored */
	bool duplicate;
	struct span error;   /* the code, a word */
	struct span message; /* for who reads it */
	int64_t index;       /* which element of an array */
	int64_t retry_ms;    /* when it may work */
	int64_t head, oldest;
	struct span generation;
	int64_t at_us;   /* monotonic time of the commit */
	int64_t trace;   /* 1: spans are wanted; 0: none any more */
	struct span ref; /* JSON text, echoed */
};

#define WIRE_ANSWER_NONE                                                       \
	((struct wire_answer){.id = -1,                                        \
	    .index = -1,                                                       \
	    .retry_ms = -1,                                                    \
	    .head = -1,                                                        \
	    .oldest = -1,                                                      \
	    .at_us = -1,                                                       \
	    .trace = -1})

MUST_USE enum status wire_put_answer(struct buf *out,
    const struct wire_answer *a);

/*
 * Checks the line and begins v.
 * Returns  ST_OK, ST_INVALID (it is no JSON object) or ST_NOMEM
 */
MUST_USE enum status wire_get_answer(struct values *v, struct span line,
    struct wire_answer *out);

/* For callers who only want to know whether pubd said ok. */
bool wire_says_ok(struct span line);

#endif
