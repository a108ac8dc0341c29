/* SPDX-License-Identifier: MIT */
/*
 * Lines to and from pubd: newline-delimited JSON, answers in order.  Pure.
 */
#ifndef PUBWIRE_H
#define PUBWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBWIRE_MAX_CODE 32

/* Events first .. first + count - 1, as one request. */
struct pub_request {
	uint64_t first;
	uint64_t t_us;    /* stamped at the first try, the same on a retry */
	uint64_t sent_us; /* of the last try */
	uint32_t count;
};

struct pub_shape {
	const char *channel; /* NULL: c0 ... c<n_channels - 1> in turn */
	uint64_t n_channels;
	size_t data_bytes; /* of each event's data, at least */
	const char *keys;  /* prefix; NULL: none */
	const char *pad;   /* data_bytes of text without a quote */
	bool stamp;
	bool array; /* always an array, even of one */
};

/* The most that one event of a request can take. */
size_t pubwire_event_max(const struct pub_shape *shape);

/* Writes the line of a request; returns its length. */
size_t pubwire_request(const struct pub_shape *shape,
    const struct pub_request *r, char *out);

enum pub_answer_kind {
	PUB_OK,
	PUB_ERROR,    /* the server says so: `code` */
	PUB_NONSENSE, /* not an answer, or not to this request */
};

struct pub_answer {
	const char *ids; /* the first id's digits */
	size_t ids_len;  /* up to the end of the line */
	bool duplicate;
	char code[PUBWIRE_MAX_CODE];
};

enum pub_answer_kind pubwire_answer(const struct pub_shape *shape,
    const struct pub_request *r, const char *line, size_t len,
    struct pub_answer *a);

/* Takes the next id; false: none is left. */
bool pubwire_next_id(struct pub_answer *a, uint64_t *id);

#endif
