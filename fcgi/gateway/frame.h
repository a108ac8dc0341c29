/* SPDX-License-Identifier: MIT */
/*
 * Text of the event stream (WHATWG HTML, section 9.2): events, positions,
 * heartbeats and the control frames of walcast-protocol(7).  No payload can
 * forge a field: CR, LF and CRLF each end a `data:` line; NUL and what is no
 * UTF-8 (utf8.h) become U+FFFD.  Pure: the same row gives the same bytes, and
 * what was sent in part is continued by encoding it again.
 */
#ifndef WALCAST_FRAME_H
#define WALCAST_FRAME_H

#include <stdint.h>

#include "buf.h"
#include "event.h"
#include "span.h"
#include "status.h"

/* All append to `out` and return ST_OK, ST_FULL or ST_NOMEM; on failure
 * nothing was appended. */

MUST_USE enum status frame_event(struct buf *out, const struct event *e);

/*
 * The same event as one line of JSON: {"id","channel","event","ts","trace",
 * "prev","data"}.  Data that is JSON stands there as it was written.
 */
MUST_USE enum status frame_envelope(struct buf *out, const struct event *e);

struct frame_open {
	struct span stream; /* the stream's id */
	struct span generation;
	int64_t position;     /* -1: no id: line, a gap gives it */
	int64_t resumed_from; /* -1: null */
	int64_t head, oldest;
	int64_t retry_ms, heartbeat_ms, server_time_ms;
};

MUST_USE enum status frame_open(struct buf *out, const struct frame_open *o);

/* Lists: X(MEMBER, word on the wire, in logs and metrics); see frontend.h. */
#define FRAME_GAPS(X)                                                          \
	X(EXPIRED, "expired")                                                  \
	X(AHEAD, "ahead")                                                      \
	X(GENERATION, "generation")                                            \
	X(INVALID, "invalid")

enum frame_gap_code {
#define X(member, word) GAP_##member,
	FRAME_GAPS(X)
#undef X
	    GAP_CODES
};

struct frame_gap {
	enum frame_gap_code code;
	struct span requested; /* the id as it came; a number when it is one */
	int64_t position;      /* from which the stream goes on */
	int64_t oldest, newest, lost;
};

MUST_USE enum status frame_gap(struct buf *out, const struct frame_gap *g);
const char *frame_gap_name(enum frame_gap_code code);

#define FRAME_REASONS(X)                                                       \
	X(DRAIN, "drain")                                                      \
	X(MAX_AGE, "max_age")                                                  \
	X(AUTH_EXPIRED, "auth_expired")                                        \
	X(OVERLOAD, "overload")                                                \
	X(LAGGING, "lagging")                                                  \
	X(REVOKED, "revoked")

enum frame_reason {
#define X(member, word) CLOSE_##member,
	FRAME_REASONS(X)
#undef X
	    CLOSE_REASONS
};

MUST_USE enum status frame_close(struct buf *out, enum frame_reason reason,
    int64_t retry_ms);

/* `: hb` with the position. */
MUST_USE enum status frame_heartbeat(struct buf *out, int64_t position);

/* event: system.heartbeat, for pages. */
MUST_USE enum status frame_heartbeat_event(struct buf *out, int64_t position,
    int64_t head, int64_t server_time_ms);

/* A comment of 2 KiB, for proxies that hold the first bytes. */
MUST_USE enum status frame_padding(struct buf *out);

#endif
