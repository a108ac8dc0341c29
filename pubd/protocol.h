/* SPDX-License-Identifier: MIT */
/*
 * The protocol of pubd's socket: turns a line into a request, and a request
 * whose outcome is known into an answer.  walcast-protocol(7) is its manual.
 * Pure: no I/O, no clock.
 *
 *   a line                                     its answer, in order
 *   {"channel":C,"data":D,...}                 {"ok":true,"id":N}
 *   [{"channel":C,"data":D,...},...]           {"ok":true,"ids":[N,...]}
 *   {"op":"ping"}           {"ok":true,"head":N,"oldest":N,"generation":G}
 *   {"op":"watch","role":R,"timing":B,"wake":B}  {"ok":true,"head":N}
 *   {"op":"report","name":...,...}             none
 *   {"op":"span","name":"dispatch",...}        none
 *   {"op":"reset_counters"}                    {"ok":true}
 *   {"op":"revoke",...}                        {"ok":true,"id":N}
 *   anything else           {"ok":false,"error":CODE,"message":TEXT}
 *
 * Of members with the same name the last counts; unknown ones are ignored.
 * timing and wake of watch, report and span are between our own processes:
 * lib/wire.h specifies them, and writes the answers but for ids.
 */
#ifndef WALCAST_PROTOCOL_H
#define WALCAST_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "revocation.h"
#include "span.h"
#include "status.h"
#include "store.h"
#include "wire.h"

#define PROTOCOL_MAX_EVENTS 10000 /* in one array */
#define PROTOCOL_MAX_REF    256   /* bytes, as written */

/*
 * X(MEMBER, word in answers and metrics): one list for the enum, the words and
 * the cells of the metrics (requests.c), so that a member added here without a
 * cell does not compile, and none can be taken for another.
 */
#define PROTOCOL_ERRORS(X)                                                     \
	X(BAD_JSON, "bad_json")                                                \
	X(BAD_REQUEST, "bad_request")                                          \
	X(TOO_LARGE, "too_large")                                              \
	X(BAD_CHANNEL, "bad_channel")                                          \
	X(BAD_EVENT, "bad_event")                                              \
	X(FORBIDDEN, "forbidden")                                              \
	X(RATE_LIMITED, "rate_limited")                                        \
	X(BUSY, "busy")                                                        \
	X(STORAGE, "storage")                                                  \
	X(UNAVAILABLE, "unavailable")

enum protocol_error {
	PROTOCOL_NONE,
#define X(member, word) PROTOCOL_##member,
	PROTOCOL_ERRORS(X)
#undef X
	    PROTOCOL_N_ERRORS
};

/* As it stands in an answer; static storage. */
const char *protocol_error_name(enum protocol_error e);

/* What a line asks for; its "op", where it has one. */
enum protocol_op {
	OP_PUBLISH, /* one event */
	OP_ARRAY,   /* n_events events, all or none */
	OP_PING,
	OP_WATCH,
	OP_REPORT, /* has no answer */
	OP_SPAN,   /* nor has this */
	OP_RESET,
	OP_REVOKE, /* events[0].e.data is the value of what is revoked */
	OP_ERROR   /* it failed, or was never valid: `failure` says why */
};

struct protocol_event {
	struct event e; /* ts_ms, id and prev are filled in later */
	bool duplicate; /* fate: its key was there, as e.id */
};

struct protocol_failure {
	enum protocol_error code;
	int64_t index;    /* which element of an array; -1: no one */
	int64_t retry_ms; /* when it may work; 0: nobody knows */
	struct span message;
	struct span channel; /* of the event, when that was valid */
};

struct protocol_request {
	enum protocol_op op;
	bool of_report;   /* an ERROR: of a line that was to be a report */
	bool ours;        /* WATCH: in the role of a process of ours */
	bool wake;        /* WATCH: it wants to be told of commits */
	bool timing;      /* WATCH: and when they were */
	bool traces;      /* WATCH: filled in later: it should send spans */
	uint64_t read_us; /* filled in later: when the line was read */
	enum revocation_kind revokes;  /* REVOKE */
	int64_t until_ms;              /* REVOKE: 0: for ever */
	struct span ref;               /* JSON text to be echoed, or none */
	struct protocol_event *events; /* of PUBLISH and ARRAY */
	size_t n_events;
	struct protocol_failure failure; /* of ERROR */
	/* Of REPORT and SPAN; in memory of the protocol. */
	struct wire_reported *report;
	struct wire_span *span;
};

/* Does it bring events? */
static inline bool
protocol_publishes(const struct protocol_request *r)
{
	return r->op == OP_PUBLISH || r->op == OP_ARRAY;
}

/* Does it become rows of the log? */
static inline bool
protocol_stores(const struct protocol_request *r)
{
	return protocol_publishes(r) || r->op == OP_REVOKE;
}

struct protocol_limits {
	size_t max_data_bytes; /* of an event, as stored */
};

struct protocol;

MUST_USE enum status protocol_new(struct protocol **out,
    struct protocol_limits limits);
void protocol_free(struct protocol **p);
void protocol_limit(struct protocol *p, struct protocol_limits limits);

/*
 * Parses one line (without its newline).  A line that is wrong becomes an
 * OP_ERROR that says why.  The spans point into the line and into memory of
 * p, and are valid until the next call.
 */
void protocol_parse(struct protocol *p, struct span line,
    struct protocol_request *out);

/* Makes of a request one that failed; its ref stays. */
void protocol_fail(struct protocol_request *r, enum protocol_error code,
    struct span message);

/*
 * Appends the answer, newline included; nothing for a report or a span.
 *
 * b        what ping and watch tell
 * Returns  ST_OK, ST_FULL or ST_NOMEM; on failure part of it may be there
 */
MUST_USE enum status protocol_answer(struct buf *out,
    const struct protocol_request *r, const struct store_bounds *b);

/*
 * Appends the line that tells a watcher of a new head.
 *
 * at_us   monotonic time of the commit; 0: not to be told
 */
MUST_USE enum status protocol_head(struct buf *out, int64_t head,
    uint64_t at_us);

#endif
