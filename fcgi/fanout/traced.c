/* SPDX-License-Identifier: MIT */
/* Events that carry a trace.  Pure. */
#include "traced.h"

#include <string.h>

#include "wire.h"

static struct span
traced_copy(char *to, size_t max, struct span from)
{
	size_t n = from.len < max ? from.len : max;

	if (n > 0)
		memcpy(to, from.p, n);
	return span_of(to, n);
}

void
traced_add(struct traced_set *t, const struct event *e, size_t n_streams,
    uint64_t now_us)
{
	size_t at = t->n;

	if (at == TRACED_MAX) {
		t->n_left_out++;
		return;
	}
	t->n++;
	t->item[at].event = (struct traced){
	    .id = e->id,
	    .trace = traced_copy(t->item[at].trace, TRACEPARENT_BYTES,
		e->trace),
	    .channel = traced_copy(t->item[at].channel, NAME_MAX_BYTES,
		e->channel),
	    .type = traced_copy(t->item[at].type, NAME_MAX_BYTES, e->event),
	    .n_bytes = e->data.len,
	    .n_streams = n_streams,
	    .start_us = now_us,
	};
}

enum status
traced_line(const struct traced *t, uint64_t end_us, struct buf *out)
{
	const struct wire_span s = {
	    .trace = t->trace,
	    .channel = t->channel,
	    .type = t->type,
	    .start_us = (int64_t)t->start_us,
	    .end_us = (int64_t)end_us,
	    .id = t->id,
	    .bytes = (int64_t)t->n_bytes,
	    .streams = (int64_t)t->n_streams,
	};

	return wire_put_span(out, &s);
}
