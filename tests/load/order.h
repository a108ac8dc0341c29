/* SPDX-License-Identifier: MIT */
/*
 * What one subscriber may see, over all its connections: event ids strictly
 * increase, dense ones by one, positions never step over an event that is
 * still to come and never go back unless control.gap says so.  Pure.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_RECENT 32

enum fault {
	FAULT_NONE,
	FAULT_DUPLICATE,    /* an event that this stream had before */
	FAULT_GAP,          /* dense: ids are missing before this one */
	FAULT_OUT_OF_ORDER, /* an older event that it had not had */
	FAULT_BEYOND,       /* an earlier position was past this event */
	FAULT_BEHIND,       /* a position went back */
	FAULT_SKIPS,        /* dense: a position passed unseen events */
	FAULT_NO_ID,        /* an event without an id of its own */
	FAULT_BAD_ID,       /* an id that is not a decimal integer */
	FAULT_SEQ,          /* the number in the data is not the next */
	FAULT_NO_OPEN,      /* an event before control.open */
	FAULT_FRAMING,      /* HTTP or chunks cannot be followed */
	FAULT_CONTROL_GAP,  /* the server said that something is lost */
	N_FAULTS
};

struct order {
	bool dense;
	bool has_pos;
	bool has_base;
	enum fault open_fault; /* of control.open, unless a gap follows */
	bool has_seq;
	uint64_t pos;     /* last event id, as a browser keeps it */
	uint64_t base;    /* dense: the next event is base + 1 */
	uint64_t last;    /* newest event; 0: none yet */
	uint64_t first;   /* oldest event seen */
	uint64_t missing; /* ids that gaps left out */
	uint64_t seq;
	uint64_t n_events;
	uint64_t recent[ORDER_RECENT];
};

/* The JSON key that counts this fault. */
const char *order_fault_name(enum fault f);

void order_init(struct order *o, bool dense);

/* The Last-Event-ID that the first connection sends. */
void order_start_at(struct order *o, uint64_t pos);

/*
 * The position of control.open.  A wrong one is a fault of the event that
 * follows, unless control.gap comes between and explains it.
 */
void order_open(struct order *o, uint64_t pos);

/* The position of control.gap: the stream goes on behind it. */
void order_gap(struct order *o, uint64_t pos);

/* Any other id that came without an event. */
enum fault order_position(struct order *o, uint64_t pos);

enum fault order_event(struct order *o, uint64_t id);

/* The publisher's own number in the data, dense on each stream. */
enum fault order_seq(struct order *o, uint64_t seq);

#endif
