/* SPDX-License-Identifier: MIT */
/*
 * The requests that wait: a growing array of them, and one arena for all
 * that their spans point to.  Invariant: n_events and n_bytes are the sums
 * over ops[0..n_ops).
 */
#include "batch.h"

#include <assert.h>
#include <stdlib.h>

#include "arena.h"
#include "backoff.h"

#define OPS_KEEP 16384 /* room kept from one batch to the next */

struct batch {
	struct batch_limits limits;
	struct arena arena;
	struct batch_op *ops;
	size_t n_ops, cap_ops;
	size_t n_events, n_bytes;
	uint64_t due_us;
	uint64_t deferred_us; /* since when; 0: not deferred */
	struct backoff retry;
};

enum status
batch_new(struct batch **out, const struct batch_limits *limits)
{
	struct batch *b = calloc(1, sizeof(*b));

	assert(limits->max_events >= PROTOCOL_MAX_EVENTS);
	if (b == NULL)
		return ST_NOMEM;
	b->limits = *limits;
	b->retry = (struct backoff){.min_us = limits->retry_min_us,
	    .max_us = limits->retry_max_us};
	arena_init(&b->arena);
	*out = b;
	return ST_OK;
}

void
batch_free(struct batch **b)
{
	if (*b == NULL)
		return;
	arena_fini(&(*b)->arena);
	free((*b)->ops);
	free(*b);
	*b = NULL;
}

static size_t
event_bytes(const struct event *e)
{
	return e->channel.len + e->event.len + e->key.len + e->trace.len +
	    e->data.len;
}

static size_t
request_bytes(const struct protocol_request *r)
{
	size_t i, n = sizeof(struct batch_op) + r->ref.len;

	if (r->op == OP_ERROR)
		return n + r->failure.message.len + r->failure.channel.len;
	n += r->n_events * sizeof(struct protocol_event);
	for (i = 0; i < r->n_events; i++)
		n += event_bytes(&r->events[i].e);
	return n;
}

static bool
fits(size_t have, size_t more, size_t max)
{
	return have <= max && more <= max - have;
}

static enum status
reserve_op(struct batch *b)
{
	size_t cap = b->cap_ops == 0 ? 64 : 2 * b->cap_ops;
	struct batch_op *ops;

	if (b->n_ops < b->cap_ops)
		return ST_OK;
	ops = realloc(b->ops, cap * sizeof(ops[0]));
	if (ops == NULL)
		return ST_NOMEM;
	b->ops = ops;
	b->cap_ops = cap;
	return ST_OK;
}

/* Moves *s to p; returns the byte behind it. */
static char *
move_span(struct span *s, char *p)
{
	if (s->len > 0)
		memcpy(p, s->p, s->len);
	s->p = s->p == NULL ? NULL : p;
	return p + s->len;
}

static enum status
copy_failure(struct batch *b, struct protocol_failure *f)
{
	enum status st = arena_copy(&b->arena, f->message, &f->message);

	if (st != ST_OK)
		return st;
	return arena_copy(&b->arena, f->channel, &f->channel);
}

static enum status
copy_events(struct batch *b, struct protocol_request *r)
{
	struct protocol_event *events;
	size_t i;
	char *p;

	events = arena_take(&b->arena, r->n_events * sizeof(events[0]));
	if (events == NULL)
		return ST_NOMEM;
	memcpy(events, r->events, r->n_events * sizeof(events[0]));
	for (i = 0; i < r->n_events; i++) {
		struct event *e = &events[i].e;

		p = arena_take(&b->arena, event_bytes(e));
		if (p == NULL)
			return ST_NOMEM;
		p = move_span(&e->channel, p);
		p = move_span(&e->event, p);
		p = move_span(&e->key, p);
		p = move_span(&e->trace, p);
		(void)move_span(&e->data, p);
	}
	r->events = events;
	return ST_OK;
}

enum status
batch_add(struct batch *b, void *waiter, const struct protocol_request *r)
{
	size_t n_bytes = request_bytes(r);
	size_t n_events = r->op == OP_ERROR ? 0 : r->n_events;
	struct batch_op op = {waiter, *r};
	enum status st;

	if (b->n_ops > 0 &&
	    (!fits(b->n_events, n_events, b->limits.max_events) ||
		!fits(b->n_bytes, n_bytes, b->limits.max_bytes)))
		return ST_FULL;
	st = reserve_op(b);
	if (st == ST_OK)
		st = arena_copy(&b->arena, r->ref, &op.request.ref);
	if (st == ST_OK && r->op == OP_ERROR)
		st = copy_failure(b, &op.request.failure);
	if (st == ST_OK && n_events > 0) {
		st = copy_events(b, &op.request);
		if (st == ST_OK)
			op.request.failure.channel =
			    op.request.events[0].e.channel;
	}
	if (st != ST_OK)
		return st;
	op.request.n_events = n_events;
	b->ops[b->n_ops++] = op;
	b->n_events += n_events;
	b->n_bytes += n_bytes;
	return ST_OK;
}

size_t
batch_count(const struct batch *b)
{
	return b->n_ops;
}

struct batch_op *
batch_at(struct batch *b, size_t i)
{
	assert(i < b->n_ops);
	return &b->ops[i];
}

size_t
batch_events(const struct batch *b)
{
	return b->n_events;
}

size_t
batch_bytes(const struct batch *b)
{
	return b->n_bytes;
}

uint64_t
batch_due_us(const struct batch *b)
{
	return b->n_ops == 0 ? BATCH_NEVER : b->due_us;
}

void
batch_defer(struct batch *b, uint64_t now_us)
{
	if (b->deferred_us == 0)
		b->deferred_us = now_us;
	b->due_us = now_us + backoff_next_us(&b->retry);
}

uint64_t
batch_waited_us(const struct batch *b, uint64_t now_us)
{
	return b->deferred_us == 0 ? 0 : now_us - b->deferred_us;
}

void
batch_clear(struct batch *b)
{
	arena_reset(&b->arena);
	if (b->cap_ops > OPS_KEEP) {
		free(b->ops);
		b->ops = NULL;
		b->cap_ops = 0;
	}
	b->n_ops = b->n_events = b->n_bytes = 0;
	b->due_us = b->deferred_us = 0;
	backoff_reset(&b->retry);
}
