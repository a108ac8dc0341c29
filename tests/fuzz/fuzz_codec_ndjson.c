/* SPDX-License-Identifier: MIT */
/*
 * Any bytes, in any pieces, give the same units: those that a plain search
 * for newlines finds in all of them at once.  Only the parts in which a line
 * that is too long is refused and skipped depend on the pieces, never where
 * it ends.  The first byte sets the pieces, the second how the input ends.
 */
#include "codec_ndjson.h"

#include <string.h>

#include "buf.h"
#include "fuzz.h"

#define MAX_UNIT 24

struct taker {
	struct codec_place at;
	struct buf in;   /* has come and was not dropped */
	struct buf told; /* all units in a row, see tell */
};

/* A unit, or that one was refused: in an order and form of its own. */
static void
tell(struct buf *told, char what, struct span text)
{
	buf_addf(told, "%c%zu:", what, text.len);
	buf_add(told, text);
	MUST(buf_status(told) == ST_OK);
}

/* Takes the piece; false: it waits for more. */
static bool
take(struct taker *t, const struct codec_piece *piece)
{
	struct span in = buf_span(&t->in);

	MUST(piece->n_bytes <= in.len && piece->text.len <= piece->n_bytes);
	MUST(piece->ended || piece->n_bytes == in.len);
	if (piece->kind == CODEC_LONG)
		tell(&t->told, 'L', SPAN_NONE);
	else if (piece->kind == CODEC_UNIT && !piece->ended)
		return false;
	else if (piece->kind == CODEC_UNIT)
		tell(&t->told, 'U', piece->text);
	MUST(piece->kind != CODEC_UNIT || piece->text.len <= MAX_UNIT);
	buf_consume(&t->in, piece->n_bytes);
	codec_ndjson.dropped(&t->at, piece);
	return piece->ended;
}

static void
take_all(struct taker *t, enum codec_input input)
{
	struct codec_piece piece, again;

	do {
		codec_ndjson.next(&t->at, buf_span(&t->in), input, MAX_UNIT,
		    &piece);
		codec_ndjson.next(&t->at, buf_span(&t->in), input, MAX_UNIT,
		    &again);
		MUST(piece.kind == again.kind && piece.ended == again.ended &&
		    piece.n_bytes == again.n_bytes &&
		    span_eq(piece.text, again.text));
	} while (take(t, &piece));
	MUST(input == CODEC_OPEN || t->in.len == 0);
}

/* The length of the next piece, from a state that each one moves on. */
static size_t
next_length(unsigned *state, size_t most)
{
	size_t n;

	*state = *state * 1103515245u + 12345u;
	n = 1 + (*state >> 16) % 40;
	return n < most ? n : most;
}

static void
take_pieces(struct taker *t, struct span bytes, unsigned state,
    enum codec_input input)
{
	while (bytes.len > 0) {
		size_t n = next_length(&state, bytes.len);

		MUST(buf_append(&t->in, span_of(bytes.p, n)) == ST_OK);
		bytes = span_skip(bytes, n);
		take_all(t, CODEC_OPEN);
	}
	take_all(t, input);
}

/* What they must be, found without the codec. */
static void
expect(struct buf *told, struct span bytes, enum codec_input input)
{
	while (bytes.len > 0) {
		const char *end = memchr(bytes.p, '\n', bytes.len);
		size_t n = end == NULL ? bytes.len : (size_t)(end - bytes.p);

		if (n > MAX_UNIT)
			tell(told, 'L', SPAN_NONE);
		else if (end == NULL && input == CODEC_CUT)
			tell(told, 'U', SPAN_NONE);
		else
			tell(told, 'U', span_of(bytes.p, n));
		bytes = span_skip(bytes, end == NULL ? n : n + 1);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct taker t = {.at = {.skipping = false}};
	struct buf expected;
	struct span bytes;
	enum codec_input input;

	if (size < 2)
		return 0;
	input = data[1] % 2 == 0 ? CODEC_ENDED : CODEC_CUT;
	bytes = fuzz_span(data + 2, size - 2);
	buf_init(&t.in, size);
	buf_init(&t.told, (size + 1) * 8);
	buf_init(&expected, (size + 1) * 8);
	take_pieces(&t, bytes, data[0], input);
	expect(&expected, bytes, input);
	MUST(span_eq(buf_span(&t.told), buf_span(&expected)));
	buf_fini(&t.in);
	buf_fini(&t.told);
	buf_fini(&expected);
	return 0;
}
