/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions and the index that finds them.
 *
 * A route is one pattern with the subscriptions that have it.  Routes of
 * prefixes are stored with their '*', so that "a*" and the channel "a" are
 * two keys.  Pure.
 */
#include "subs.h"

#include <assert.h>
#include <stdlib.h>

#include "buf.h"
#include "hashtable.h"
#include "name.h"
#include "nameset.h"

#define KEY_BYTES_MAX (64u * (NAME_MAX_BYTES + 1) * 2 + 16)

struct route {
	UT_hash_handle hh;
	struct sub **sub;
	size_t n, cap;
	size_t len;
	char pattern[]; /* len bytes */
};

struct sub_impl {
	struct sub sub; /* first: freed through here */
	UT_hash_handle hh;
	size_t n_refs;
	uint64_t asked;               /* subs_find that asked it last */
	struct span *channel, *event; /* into key */
	size_t n_channels, n_events;
	struct span *name, *prefix; /* the channels, apart; without the '*' */
	size_t n_names, n_prefixes;
	struct nameset names, events;
	size_t key_len;
	char key[];
};

struct subs {
	struct sub_impl *all;
	struct route *routes;
	size_t n_prefixes[NAME_MAX_BYTES + 1]; /* routes "x*" by len of x */
	size_t longest_prefix;
	size_t n_envelopes;
	uint64_t asking;
	uint64_t n_made;
};

enum status
subs_new(struct subs **out)
{
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? ST_NOMEM : ST_OK;
}

void
subs_free(struct subs **s)
{
	if (*s == NULL)
		return;
	assert((*s)->all == NULL);
	free(*s);
	*s = NULL;
}

/* Appends the sorted spans, each ended by a byte that none contains. */
static void
put_sorted(struct buf *key, const struct span *list, size_t n)
{
	struct span sorted[64] = {{0}};
	size_t i;

	assert(n <= 64);
	if (n > 0)
		memcpy(sorted, list, n * sizeof(*list));
	qsort(sorted, n, sizeof(*sorted), nameset_compare);
	for (i = 0; i < n; i++) {
		buf_add(key, sorted[i]);
		buf_add(key, SPAN("\n"));
	}
	buf_add(key, SPAN("\n"));
}

/* Same wishes, same key. */
static enum status
make_key(struct buf *key, const struct sub_spec *spec)
{
	size_t start = key->len;

	buf_add(key, spec->envelope ? SPAN("e") : SPAN("p"));
	put_sorted(key, spec->channel, spec->n_channels);
	put_sorted(key, spec->event, spec->n_events);
	return buf_finish(key, start);
}

/* Finds the spans of one sorted list in the key again. */
static void
find_spans(struct span *rest, struct span *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		(void)span_cut(rest, '\n', &list[i]);
	*rest = span_skip(*rest, 1);
}

static bool
is_prefix(struct span pattern)
{
	return pattern.p[pattern.len - 1] == '*';
}

/*
 * The sorted channels as names and as prefixes, both sorted.
 *
 * list   has room for all of them
 */
static void
part_channels(struct sub_impl *m, struct span *list)
{
	size_t i;

	m->name = list;
	for (i = 0; i < m->n_channels; i++)
		if (!is_prefix(m->channel[i]))
			m->name[m->n_names++] = m->channel[i];
	m->prefix = m->name + m->n_names;
	for (i = 0; i < m->n_channels; i++)
		if (is_prefix(m->channel[i]))
			m->prefix[m->n_prefixes++] = span_of(m->channel[i].p,
			    m->channel[i].len - 1);
	qsort(m->prefix, m->n_prefixes, sizeof(*m->prefix), nameset_compare);
	m->n_prefixes = nameset_reduce(m->prefix, m->n_prefixes);
}

static struct sub_impl *
impl_new(struct span key, const struct sub_spec *spec)
{
	size_t n = 2 * spec->n_channels + spec->n_events;
	struct sub_impl *m = calloc(1, sizeof(*m) + key.len);
	struct span rest;

	if (m == NULL)
		return NULL;
	m->channel = calloc(n == 0 ? 1 : n, sizeof(struct span));
	if (m->channel == NULL) {
		free(m);
		return NULL;
	}
	assert(key.p != NULL);
	memcpy(m->key, key.p, key.len);
	m->key_len = key.len;
	m->n_channels = spec->n_channels;
	m->n_events = spec->n_events;
	m->event = m->channel + spec->n_channels;
	rest = span_of(m->key + 1, key.len - 1);
	find_spans(&rest, m->channel, m->n_channels);
	find_spans(&rest, m->event, m->n_events);
	part_channels(m, m->event + m->n_events);
	nameset_init(&m->names, m->name, m->n_names);
	nameset_init(&m->events, m->event, m->n_events);
	m->sub.envelope = spec->envelope;
	m->sub.impl = m;
	TAILQ_INIT(&m->sub.live);
	return m;
}

static void
count_prefix(struct subs *s, struct span pattern, int by)
{
	size_t len = pattern.len - 1;

	if (!is_prefix(pattern))
		return;
	s->n_prefixes[len] += (size_t)by;
	if (by > 0 && len > s->longest_prefix)
		s->longest_prefix = len;
	while (s->longest_prefix > 0 && s->n_prefixes[s->longest_prefix] == 0)
		s->longest_prefix--;
}

static struct route *
route_get(struct subs *s, struct span pattern)
{
	struct route *r;

	HASH_FIND(hh, s->routes, pattern.p, pattern.len, r);
	if (r != NULL)
		return r;
	r = calloc(1, sizeof(*r) + pattern.len);
	if (r == NULL)
		return NULL;
	memcpy(r->pattern, pattern.p, pattern.len);
	r->len = pattern.len;
	HASH_ADD_KEYPTR(hh, s->routes, r->pattern, r->len, r);
	if (r->hh.tbl == NULL) { /* uthash found no memory */
		free(r);
		return NULL;
	}
	count_prefix(s, pattern, 1);
	return r;
}

static void
route_drop_if_empty(struct subs *s, struct route *r)
{
	if (r->n > 0)
		return;
	count_prefix(s, span_of(r->pattern, r->len), -1);
	HASH_DEL(s->routes, r);
	free(r->sub);
	free(r);
}

static enum status
route_add(struct subs *s, struct span pattern, struct sub *sub)
{
	struct route *r = route_get(s, pattern);

	if (r == NULL)
		return ST_NOMEM;
	if (r->n == r->cap) {
		size_t cap = r->cap == 0 ? 2 : 2 * r->cap;
		struct sub **list = realloc(r->sub, cap * sizeof(*list));

		if (list == NULL) {
			route_drop_if_empty(s, r);
			return ST_NOMEM;
		}
		r->sub = list;
		r->cap = cap;
	}
	r->sub[r->n++] = sub;
	return ST_OK;
}

static void
route_remove(struct subs *s, struct span pattern, const struct sub *sub)
{
	struct route *r;
	size_t i;

	HASH_FIND(hh, s->routes, pattern.p, pattern.len, r);
	if (r == NULL)
		return;
	for (i = 0; i < r->n; i++) {
		if (r->sub[i] == sub) {
			r->sub[i] = r->sub[--r->n];
			break;
		}
	}
	route_drop_if_empty(s, r);
}

static void
impl_free(struct sub_impl **m)
{
	free((*m)->channel);
	free(*m);
	*m = NULL;
}

static enum status
impl_enter(struct subs *s, struct sub_impl *m)
{
	enum status st = ST_OK;
	size_t i;

	HASH_ADD_KEYPTR(hh, s->all, m->key, m->key_len, m);
	if (m->hh.tbl == NULL)
		return ST_NOMEM;
	for (i = 0; st == ST_OK && i < m->n_channels; i++)
		st = route_add(s, m->channel[i], &m->sub);
	if (st == ST_OK) {
		m->sub.serial = ++s->n_made;
		s->n_envelopes += m->sub.envelope;
		return ST_OK;
	}
	while (i-- > 0)
		route_remove(s, m->channel[i], &m->sub);
	HASH_DEL(s->all, m);
	return st;
}

enum status
subs_ref(struct subs *s, const struct sub_spec *spec, struct sub **out)
{
	struct sub_impl *m = NULL;
	struct buf key;
	enum status st;

	buf_init(&key, KEY_BYTES_MAX);
	st = make_key(&key, spec);
	if (st == ST_OK) {
		struct span k = buf_span(&key);

		assert(k.p != NULL);
		HASH_FIND(hh, s->all, k.p, k.len, m);
		if (m == NULL) {
			m = impl_new(k, spec);
			st = m == NULL ? ST_NOMEM : impl_enter(s, m);
			if (st != ST_OK && m != NULL)
				impl_free(&m);
		}
	}
	buf_fini(&key);
	if (st != ST_OK)
		return st;
	m->n_refs++;
	*out = &m->sub;
	return ST_OK;
}

void
subs_unref(struct subs *s, struct sub **sub)
{
	struct sub_impl *m = (*sub)->impl;
	size_t i;

	*sub = NULL;
	if (--m->n_refs > 0)
		return;
	assert(TAILQ_EMPTY(&m->sub.live) && !m->sub.dirty);
	for (i = 0; i < m->n_channels; i++)
		route_remove(s, m->channel[i], &m->sub);
	HASH_DEL(s->all, m);
	s->n_envelopes -= m->sub.envelope;
	impl_free(&m);
}

static bool
event_wanted(const struct sub_impl *m, struct span event)
{
	return m->n_events == 0 || nameset_has(&m->events, event);
}

bool
subs_match(const struct sub *sub, struct span channel, struct span event)
{
	const struct sub_impl *m = sub->impl;

	if (channel.len > NAME_MAX_BYTES || name_reserved(channel))
		return false; /* as subs_find */
	return (nameset_has(&m->names, channel) ||
		   nameset_begins(m->prefix, m->n_prefixes, channel)) &&
	    event_wanted(m, event);
}

bool
subs_names(const struct sub *sub, const struct span **name, size_t *n)
{
	const struct sub_impl *m = sub->impl;

	*name = m->name;
	*n = m->n_names;
	return m->n_prefixes == 0;
}

void
subs_patterns(const struct sub *sub, const struct span **pattern, size_t *n)
{
	*pattern = sub->impl->channel;
	*n = sub->impl->n_channels;
}

struct finding {
	struct span event;
	void (*fn)(void *arg, struct sub *sub);
	void *arg;
};

static void
visit_route(struct subs *s, struct span pattern, const struct finding *f)
{
	struct route *r;
	size_t i;

	HASH_FIND(hh, s->routes, pattern.p, pattern.len, r);
	if (r == NULL)
		return;
	for (i = 0; i < r->n; i++) {
		struct sub_impl *m = r->sub[i]->impl;

		if (m->asked == s->asking)
			continue;
		m->asked = s->asking;
		if (event_wanted(m, f->event))
			f->fn(f->arg, &m->sub);
	}
}

void
subs_find(struct subs *s, struct span channel, struct span event,
    void (*fn)(void *arg, struct sub *sub), void *arg)
{
	struct finding f = {event, fn, arg};
	char prefix[NAME_MAX_BYTES + 1];
	size_t len;

	/* What is ours nobody gets, whatever he has asked for. */
	if (channel.len > NAME_MAX_BYTES || name_reserved(channel))
		return;
	s->asking++;
	visit_route(s, channel, &f);
	for (len = 0; len <= s->longest_prefix && len <= channel.len; len++) {
		if (s->n_prefixes[len] == 0)
			continue;
		if (len > 0)
			memcpy(prefix, channel.p, len);
		prefix[len] = '*';
		visit_route(s, span_of(prefix, len + 1), &f);
	}
}

size_t
subs_count(const struct subs *s)
{
	return HASH_COUNT(s->all);
}

bool
subs_envelopes(const struct subs *s)
{
	return s->n_envelopes > 0;
}
