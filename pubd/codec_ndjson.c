/* SPDX-License-Identifier: MIT */
/* Lines of JSON.  One that arrives in many pieces is searched once. */
#include "codec_ndjson.h"

#include "protocol.h"

static void
ndjson_next(struct codec_place *at, struct span in, enum codec_input input,
    size_t max_bytes, struct codec_piece *out)
{
	struct span line;

	*out = (struct codec_piece){.kind = CODEC_UNIT,
	    .text = in,
	    .n_bytes = in.len};
	if (linesplit_find(&at->lines, in, &line) == ST_OK) {
		out->ended = true;
		out->text = line;
		out->n_bytes = line.len + 1;
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
	linesplit_dropped(&at->lines);
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
