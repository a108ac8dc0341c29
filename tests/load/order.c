/* SPDX-License-Identifier: MIT */
/* The order that one subscriber may see; see order.h. */
#include "order.h"

#include <string.h>

static const char *const fault_names[N_FAULTS] = {
    [FAULT_NONE] = "none",
    [FAULT_DUPLICATE] = "duplicates",
    [FAULT_GAP] = "gaps",
    [FAULT_OUT_OF_ORDER] = "out_of_order",
    [FAULT_BEYOND] = "position_beyond",
    [FAULT_BEHIND] = "position_behind",
    [FAULT_SKIPS] = "position_skips",
    [FAULT_NO_ID] = "no_id",
    [FAULT_BAD_ID] = "bad_id",
    [FAULT_SEQ] = "seq_errors",
    [FAULT_NO_OPEN] = "no_open",
    [FAULT_FRAMING] = "framing",
    [FAULT_CONTROL_GAP] = "control_gaps",
};

const char *
order_fault_name(enum fault f)
{
	return fault_names[f];
}

void
order_init(struct order *o, bool dense)
{
	memset(o, 0, sizeof(*o));
	o->dense = dense;
}

void
order_start_at(struct order *o, uint64_t pos)
{
	o->pos = pos;
	o->has_pos = true;
	/* 0 asks for all that is retained: control.open tells the base */
	o->base = pos;
	o->has_base = pos > 0;
}

enum fault
order_position(struct order *o, uint64_t pos)
{
	bool behind = o->has_pos && pos < o->pos;
	bool skips = o->dense && o->has_base && pos > o->base;

	o->pos = pos;
	o->has_pos = true;
	if (behind)
		return FAULT_BEHIND;
	if (skips || !o->has_base) {
		o->base = pos;
		o->has_base = true;
	}
	return skips ? FAULT_SKIPS : FAULT_NONE;
}

void
order_open(struct order *o, uint64_t pos)
{
	o->open_fault = order_position(o, pos);
}

void
order_gap(struct order *o, uint64_t pos)
{
	if (pos < o->pos || pos < o->last) {
		/* the log began anew: old ids may come again */
		o->last = 0;
		o->first = 0;
		memset(o->recent, 0, sizeof(o->recent));
	}
	o->open_fault = FAULT_NONE;
	o->has_seq = false;
	o->pos = o->base = pos;
	o->has_pos = o->has_base = true;
}

/* An id that is not new: was it delivered before? */
static enum fault
old_event(const struct order *o, uint64_t id)
{
	size_t i, n = ORDER_RECENT;

	if (o->n_events < n)
		n = (size_t)o->n_events;
	for (i = 0; i < n; i++) {
		if (o->recent[i] == id)
			return FAULT_DUPLICATE;
	}
	/* too old to remember: dense streams had it, if not before all */
	if (o->dense && id >= o->first && o->n_events > n)
		return FAULT_DUPLICATE;
	return FAULT_OUT_OF_ORDER;
}

enum fault
order_event(struct order *o, uint64_t id)
{
	enum fault f = FAULT_NONE;

	if (o->last > 0 && id <= o->last) {
		f = old_event(o, id);
		if (f == FAULT_OUT_OF_ORDER)
			o->recent[o->n_events++ % ORDER_RECENT] = id;
		return f;
	}
	if (o->open_fault != FAULT_NONE) {
		f = o->open_fault;
		o->open_fault = FAULT_NONE;
	} else if (o->has_pos && id <= o->pos) {
		f = FAULT_BEYOND;
	} else if (o->dense && o->has_base && id != o->base + 1) {
		f = FAULT_GAP;
		o->missing += id - o->base - 1;
	}
	if (o->last == 0)
		o->first = id;
	o->recent[o->n_events++ % ORDER_RECENT] = id;
	o->last = o->pos = o->base = id;
	o->has_pos = o->has_base = true;
	return f;
}

enum fault
order_seq(struct order *o, uint64_t seq)
{
	bool wrong = o->has_seq && seq != o->seq + 1;

	o->seq = seq;
	o->has_seq = true;
	return wrong ? FAULT_SEQ : FAULT_NONE;
}
