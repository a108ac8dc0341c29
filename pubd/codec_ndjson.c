/* SPDX-License-Identifier: MIT */
/*
 * Lines of JSON.  Invariant: the first `scanned` bytes hold no LF, so that a
 * line which arrives in many pieces is searched once.
 */
#include "codec_ndjson.h"

#include "protocol.h"

/* Where the line that `in` begins with ends, or NULL. */
static const char *
ndjson_find_end(struct codec_place *at, struct span in)
{
	const char *newline = NULL;

	if (in.len > at->scanned)
		newline = span_find(span_skip(in, at->scanned), '\n');
	at->scanned = newline == NULL ? in.len : (size_t)(newline - in.p);
	return newline;
}

static void
ndjson_next(struct codec_place *at, struct span in, enum codec_input input,
    size_t max_bytes, struct codec_piece *out)
{
	const char *newline = ndjson_find_end(at, in);

	*out = (struct codec_piece){.kind = CODEC_UNIT,
	    .text = in,
	    .n_bytes = in.len};
	if (newline != NULL) {
		out->ended = true;
		out->text.len = (size_t)(newline - in.p);
		out->n_bytes = out->text.len + 1;
	} else if (in.len > 0 && input != CODEC_OPEN) {
		out->ended = true;
		if (input == CODEC_CUT)
			out->text.len = 0;
	}
	if (at->skipping)
		out->kind = CODEC_SKIPPED;
	else if (out->text.len > max_bytes)
		out->kind = CODEC_LONG;
}

static void
ndjson_dropped(struct codec_place *at, const struct codec_piece *piece)
{
	at->scanned = 0;
	at->skipping = !piece->ended;
}

const struct codec codec_ndjson = {
    .name = "ndjson",
    .next = ndjson_next,
    .dropped = ndjson_dropped,
    .parse = protocol_parse,
    .answer = protocol_answer,
    .head = protocol_head,
};
