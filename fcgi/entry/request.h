/* SPDX-License-Identifier: MIT */
/*
 * What a client asks of sse.fcgi, from the CGI variables: walcast-protocol(7),
 * "Streaming".  Pure.  Spans point into `text` or into the params, which must
 * outlive the request.
 */
#ifndef WALCAST_REQUEST_H
#define WALCAST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "frontend.h"
#include "http.h"
#include "params.h"
#include "span.h"
#include "status.h"

#define REQUEST_MAX_CHANNELS 64
#define REQUEST_MAX_EVENTS   64

enum request_kind {
	REQUEST_STREAM,
	REQUEST_HEAD,      /* the headers of a stream, no body */
	REQUEST_PREFLIGHT, /* OPTIONS */
	REQUEST_REFUSED    /* answer `error` */
};

enum request_position {
	POSITION_LIVE,     /* no id came: from now */
	POSITION_AFTER,    /* after `after_id` */
	POSITION_EARLIEST, /* everything retained */
	POSITION_LAST,     /* begin with the newest `last_n` */
	POSITION_INVALID   /* malformed or foreign id */
};

struct request_rules {
	struct span default_channel; /* patterns, comma separated; or empty */
	struct span allow_origin;    /* "*", origins by space or comma; empty */
};

struct request {
	enum request_kind kind;
	struct http_error error; /* REQUEST_REFUSED */
	bool head_only;          /* the method was HEAD */
	struct span origin;      /* for Access-Control-Allow-Origin, or none */

	struct span channel[REQUEST_MAX_CHANNELS]; /* patterns; no two equal */
	size_t n_channels;
	struct span event[REQUEST_MAX_EVENTS]; /* only these; none: all */
	size_t n_events;

	enum request_position position;
	int64_t after_id;
	int64_t last_n;
	struct span requested; /* the id as it came, for control.gap */
	bool resumes; /* ... and it is of a client that comes back; known
			 of refused requests, too */
	struct span generation;
	struct span token;  /* of the query; no log may have it */
	bool tokens_differ; /* there are several, and not the same */
	bool envelope;
	bool heartbeat_events;
	bool padding;

	struct span remote;     /* REMOTE_ADDR */
	enum front front;       /* by SERVER_SOFTWARE; never FRONT_CGI */
	int64_t max_streams;    /* WALCAST_MAX_STREAMS; -1: not given */
	int64_t ramp;           /* WALCAST_RAMP; -1: not given */
	int64_t share;          /* WALCAST_ADDRESS_SHARE, percent; -1 */
	const char *bad_limit;  /* that of them which is no number, or NULL */
	struct span bad_value;  /* ... what it is, */
	const char *bad_means;  /* and what stands for it, for the log */
	bool thread_per_stream; /* the web server is known for it */
	struct span slot_pool;  /* which slots it counts in, see slots.h */
	struct buf text;        /* decoded strings */
};

/* The cap where somebody wanted one and wrote what is no number. */
#define REQUEST_SAFE_CAP      20
#define REQUEST_SAFE_CAP_TEXT "20"

/* The share of an address, in percent, likewise; the shipped files' own. */
#define REQUEST_SAFE_SHARE      10
#define REQUEST_SAFE_SHARE_TEXT "10"

void request_init(struct request *r);
void request_fini(struct request *r);

/*
 * Reads a request.  Whatever is wrong with it becomes REQUEST_REFUSED with
 * the error to answer.
 *
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status request_read(struct request *r, const struct params *p,
    const struct request_rules *rules);

#endif
