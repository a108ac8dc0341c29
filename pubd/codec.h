/* SPDX-License-Identifier: MIT */
/*
 * A codec: how the bytes of a connection become requests, and how answers
 * become bytes.  Another way to talk to pubd needs another codec.  conn.c moves
 * the bytes and shares out the work, requests.c does what is asked, and neither
 * knows what the bytes look like.
 *
 * A *unit* is one request as it arrives: in NDJSON a line.  The connection
 * keeps the bytes that came in, and asks what they begin with:
 *
 *      next      {kind, ended, text, n_bytes}, a piece at their front
 *      parse     its text, when it is a UNIT that has ended
 *      dropped   those n_bytes are gone from the front
 *
 * and so on.  A piece that has not ended may be dropped too, to give it up:
 * what follows, up to its end, comes as SKIPPED.
 *
 * Pure: no I/O, no clock, no memory but what is passed in.
 */
#ifndef WALCAST_CODEC_H
#define WALCAST_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "linesplit.h"
#include "span.h"
#include "status.h"

struct buf;
struct protocol;
struct protocol_request;
struct store_bounds;

/* What a codec remembers of one connection; all zero at its beginning. */
struct codec_place {
	struct linesplit lines; /* of a codec that has lines */
	bool skipping;          /* to the end of a unit that was given up */
};

enum codec_input {
	CODEC_OPEN,  /* more may come */
	CODEC_ENDED, /* the peer has ended it: a last unit may be whole */
	CODEC_CUT    /* we have: an unfinished one never becomes whole */
};

enum codec_kind {
	CODEC_UNIT,
	CODEC_LONG,   /* a unit of more than its bound: to be refused */
	CODEC_SKIPPED /* rest of one that was given up: it has its answer */
};

struct codec_piece {
	enum codec_kind kind;
	bool ended;       /* its end is there; always after CODEC_OPEN */
	struct span text; /* of a UNIT that has ended: into the bytes */
	size_t n_bytes;   /* what it takes up of them, ends included */
};

struct codec {
	const char *name;

	/*
	 * What the bytes `in` begin with.  The same place and bytes give the
	 * same piece, however often they are asked for; of no bytes it is a
	 * UNIT without end.  Bytes that were there in the call before, and
	 * have not been dropped, need not be looked at again.
	 *
	 * max_bytes   bound on a unit's text
	 */
	void (*next)(struct codec_place *at, struct span in,
	    enum codec_input input, size_t max_bytes, struct codec_piece *out);

	/* The piece was taken off the front of the bytes. */
	void (
	    *dropped)(struct codec_place *at, const struct codec_piece *piece);

	/*
	 * Parses a unit's text into a request, as protocol_parse does;
	 * the request is valid for as long.
	 */
	void (*parse)(struct protocol *p, struct span text,
	    struct protocol_request *out);

	/*
	 * Appends the answer to a request whose outcome is known, framed;
	 * nothing for a request that has no answer.
	 *
	 * b        what ping and watch tell
	 * Returns  ST_OK, ST_FULL or ST_NOMEM; on failure part of it may be
	 *          there
	 */
	MUST_USE enum status (*answer)(struct buf *out,
	    const struct protocol_request *r, const struct store_bounds *b);

	/* Appends what tells a watcher of a new head, as protocol_head. */
	MUST_USE enum status (
	    *head)(struct buf *out, int64_t head, uint64_t at_us);
};

#endif
