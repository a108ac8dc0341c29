/* SPDX-License-Identifier: MIT */
/* What is parsed can be written, and says the same when it is read back. */
#include "traceparent.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span s = fuzz_span(data, size);
	struct traceparent t, again;
	char out[TRACEPARENT_BYTES];

	if (traceparent_parse(s, &t) != ST_OK)
		return 0;
	MUST(size >= TRACEPARENT_BYTES && t.version != 0xff);
	MUST(t.version != 0 || size == TRACEPARENT_BYTES);
	traceparent_write(&t, out);
	MUST(traceparent_parse(span_of(out, sizeof(out)), &again) == ST_OK);
	MUST(again.version == 0 && again.flags == t.flags);
	MUST(span_eq(again.trace_id, t.trace_id));
	MUST(span_eq(again.parent_id, t.parent_id));
	MUST(t.version != 0 || span_eq(span_of(out, sizeof(out)), s));
	return 0;
}
