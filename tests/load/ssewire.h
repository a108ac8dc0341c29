/* SPDX-License-Identifier: MIT */
/*
 * The bytes of one HTTP/1.1 response that carries an event stream: head,
 * chunked transfer coding, and the event stream as the WHATWG standard
 * parses it (CR, LF and CRLF; lines and chunks may break at any byte).
 * Pure: no clock, no I/O.
 *
 * A block is what stands between two blank lines.  The caller hears of each
 * one, with data or without: it is the caller that keeps the last event id.
 */
#ifndef SSEWIRE_H
#define SSEWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAX_HEAD ((size_t)64 * 1024)
#define WIRE_MAX_LINE ((size_t)8 * 1024 * 1024)
#define WIRE_MAX_NAME 132 /* longer ids and event names are cut here */

enum wire_status {
	WIRE_OK,
	WIRE_HEAD,     /* only the head is wrong: status or type; see it */
	WIRE_BAD_HEAD, /* not HTTP/1.1, or too long */
	WIRE_BAD_CHUNK,
	WIRE_LONG_LINE,
	WIRE_NOMEM,
};

struct wire_text {
	const char *p;
	size_t len;
};

struct wire_block {
	bool has_id; /* an id: line stood in this block */
	bool has_retry;
	bool has_data; /* at least one data: line */
	uint64_t retry_ms;
	struct wire_text id;    /* meaningful with has_id */
	struct wire_text event; /* empty: "message" */
	struct wire_text data;  /* first line, or all with keep_data */
};

typedef void wire_block_fn(void *arg, const struct wire_block *b);

/* Grows on demand, never shrinks before wire_fini(). */
struct wire_buf {
	char *p;
	size_t len;
	size_t cap;
};

struct wire {
	/* what the caller reads */
	unsigned status;   /* HTTP status; 0: head not complete */
	bool event_stream; /* Content-Type fits */
	bool ended;        /* the last chunk has come */
	uint64_t n_comments;
	uint64_t n_heartbeats; /* comments that begin ": hb" */

	/* what the caller may set after wire_init() */
	bool keep_data; /* join data lines: slow */

	/* private */
	wire_block_fn *fn;
	void *arg;
	unsigned chunk_state;
	bool chunked;
	bool any_digit; /* in this chunk's size */
	bool begun;     /* past a possible byte order mark */
	bool skip_lf;
	bool has_id;
	bool has_event;
	bool has_retry;
	bool has_data;
	uint64_t chunk_left;
	uint64_t retry_ms;
	size_t id_len;
	size_t event_len;
	struct wire_text data; /* in the caller's buffer or in `saved` */
	struct wire_buf line;  /* head or line that is not complete */
	struct wire_buf saved;
	char id[WIRE_MAX_NAME];
	char event[WIRE_MAX_NAME];
};

/* `fn` is called for each block with `arg`. */
void wire_init(struct wire *w, wire_block_fn *fn, void *arg);

/* Ready for the next response; keeps the memory and fn. */
void wire_reset(struct wire *w);
void wire_fini(struct wire *w);

/*
 * Takes the next bytes.  Texts given to fn live until it returns.
 *
 * Returns  WIRE_OK    more is welcome, or `ended`
 *          WIRE_HEAD  the head has come and is not a 200 event stream
 *          others     the response cannot be followed further
 */
enum wire_status wire_feed(struct wire *w, const char *p, size_t len)
    __attribute__((warn_unused_result));

#endif
