/* SPDX-License-Identifier: MIT */
/*
 * A browser's side of an event stream: HTML standard, section 9.2.6,
 * "Interpreting an event stream", to the letter and nothing else, on bytes.
 * Written apart from the encoder, to judge it.
 */
#ifndef WALCAST_FUZZ_EVENTSTREAM_H
#define WALCAST_FUZZ_EVENTSTREAM_H

#include <stddef.h>

#include "buf.h"
#include "span.h"

#define EVENTSTREAM_MAX 8 /* events that are kept */

/* One event as a page gets it. */
struct eventstream_event {
	size_t id_at, id_len; /* lastEventId, type, data: in `kept` */
	size_t type_at, type_len;
	size_t data_at, data_len;
};

struct eventstream {
	struct buf data, type, last_id; /* the standard's three buffers */
	struct buf kept;
	struct eventstream_event event[EVENTSTREAM_MAX];
	size_t n_events;
	size_t n_comments, n_unknown; /* lines */
	struct span retry;            /* the last one, digits only */
};

void eventstream_init(struct eventstream *s);

/* Begins anew and reads a whole stream. */
void eventstream_read(struct eventstream *s, struct span text);

struct span eventstream_id(const struct eventstream *s, size_t n);
struct span eventstream_type(const struct eventstream *s, size_t n);
struct span eventstream_data(const struct eventstream *s, size_t n);

#endif
