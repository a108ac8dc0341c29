/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions: what a stream wants.  Streams that want the same share one
 * `struct sub`, so that their text is put together once for all of them.  An
 * index from channel to subscriptions finds who wants an event without asking
 * everybody: one look-up for the name and one for each length of prefix in
 * use.  Pure.
 */
#ifndef WALCAST_SUBS_H
#define WALCAST_SUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "span.h"
#include "status.h"

struct stream;
struct subs;
TAILQ_HEAD(stream_list, stream);

struct sub_spec {
	const struct span *channel; /* valid patterns, no two equal */
	size_t n_channels;
	const struct span *event; /* only these; none: all */
	size_t n_events;
	bool envelope;
};

/* Readable by all; written by the hub only, but for `impl`. */
struct sub {
	struct stream_list live; /* streams that are up to date */
	size_t n_live;
	uint64_t serial; /* never given twice */
	bool envelope;
	bool dirty; /* there are matches to send */
	STAILQ_ENTRY(sub) dirty_link;
	uint32_t first_match, last_match; /* in the hub's list */
	struct sub_impl *impl;
};

MUST_USE enum status subs_new(struct subs **out);
void subs_free(struct subs **s);

/*
 * The subscription of this spec, made when it is new, and one reference.
 * Returns  ST_OK, ST_NOMEM
 */
MUST_USE enum status subs_ref(struct subs *s, const struct sub_spec *spec,
    struct sub **out);
void subs_unref(struct subs *s, struct sub **sub);

/* Does it want this event? */
bool subs_match(const struct sub *sub, struct span channel, struct span event);

/*
 * The channels that it names whole; valid while it is referred to.
 * Returns  whether these are all that it wants: it has no prefixes
 */
bool subs_names(const struct sub *sub, const struct span **name, size_t *n);

/* The patterns that were asked for; valid while it is referred to. */
void subs_patterns(const struct sub *sub, const struct span **pattern,
    size_t *n);

/* Calls fn once for each subscription that wants the event. */
void subs_find(struct subs *s, struct span channel, struct span event,
    void (*fn)(void *arg, struct sub *sub), void *arg);

size_t subs_count(const struct subs *s);
/* Is there one with `envelope`? */
bool subs_envelopes(const struct subs *s);

#endif
