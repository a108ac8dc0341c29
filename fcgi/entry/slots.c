/* SPDX-License-Identifier: MIT */
/*
 * Slots in a shared file.  The kernel tells of locks of others only, so what
 * this process holds is kept in a bitmap for each pool.  Never blocks.
 *
 * The kernel goes through a list of all locks for each call, and makes one of
 * neighbours that one process has.  So in a large pool processes keep apart:
 * each takes slots in words of the bitmap of its own while there are such.
 */
#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "hashtable.h"

#define POOL_BITS  20 /* slots of one pool: a million */
#define POOL_SLOTS (1 << POOL_BITS)
#define WORD_BITS  64

struct pool {
	UT_hash_handle hh;
	uint32_t key;
	size_t n_held;
	size_t n_words;
	uint64_t *held; /* n_words, bit set: ours */
	int64_t next; /* a search begins here: those before are mostly taken */
};

struct slots {
	int fd;
	struct siphash_key key;
	struct pool *pools;
};

uint32_t
slots_key(const struct slots *s, struct span kind, struct span name)
{
	struct siphash_key of_kind = s->key;
	uint64_t h = siphash(&s->key, kind.p, kind.len);
	size_t i;

	for (i = 0; i < sizeof(h); i++)
		of_kind.b[i] ^= (unsigned char)(h >> 8 * i);
	h = siphash(&of_kind, name.p, name.len);
	return (uint32_t)(h ^ h >> 32) & 0x7fffffff;
}

enum status
slots_open(struct slots **out, const struct slots_place *place,
    struct errmsg *note)
{
	struct slots *s = calloc(1, sizeof(*s));
	struct slots_file f = {.fd = -1};

	if (s == NULL)
		return ST_NOMEM;
	if (slots_file_open(&f, place, note) != ST_OK) {
		free(s);
		return ST_IO;
	}
	s->fd = f.fd;
	s->key = f.key;
	*out = s;
	return ST_OK;
}

static void
pool_drop(struct slots *s, struct pool *p)
{
	HASH_DEL(s->pools, p);
	free(p->held);
	free(p);
}

void
slots_close(struct slots **sp)
{
	struct slots *s = *sp;
	struct pool *p, *tmp;

	if (s == NULL)
		return;
	HASH_ITER (hh, s->pools, p, tmp)
		pool_drop(s, p);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s);
	*sp = NULL;
}

static struct pool *
pool_get(struct slots *s, uint32_t key)
{
	struct pool *p;

	HASH_FIND(hh, s->pools, &key, sizeof(key), p);
	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->key = key;
	HASH_ADD(hh, s->pools, key, sizeof(p->key), p);
	if (p->hh.tbl == NULL) { /* uthash found no memory */
		free(p);
		return NULL;
	}
	return p;
}

static bool
holds(const struct pool *p, int64_t slot)
{
	size_t word = (size_t)slot / WORD_BITS;

	return word < p->n_words && (p->held[word] >> slot % WORD_BITS & 1);
}

static enum status
make_room(struct pool *p, int64_t slot)
{
	size_t n = (size_t)slot / WORD_BITS + 1;
	uint64_t *held;

	if (n <= p->n_words)
		return ST_OK;
	if (n < 2 * p->n_words)
		n = 2 * p->n_words;
	held = realloc(p->held, n * sizeof(*held));
	if (held == NULL)
		return ST_NOMEM;
	memset(held + p->n_words, 0, (n - p->n_words) * sizeof(*held));
	p->held = held;
	p->n_words = n;
	return ST_OK;
}

static struct flock
range(uint32_t key, int64_t slot, short type)
{
	return (struct flock){
	    .l_type = type,
	    .l_whence = SEEK_SET,
	    .l_start = (off_t)key << POOL_BITS | (off_t)slot,
	    .l_len = 1,
	};
}

/*
 * Tries one slot.  ST_BUSY: another process has it, and *next is the first
 * one behind what it holds.
 */
static enum status
try_slot(const struct slots *s, uint32_t key, int64_t slot, int64_t *next)
{
	struct flock fl = range(key, slot, F_WRLCK);

	if (fcntl(s->fd, F_OFD_SETLK, &fl) == 0)
		return ST_OK;
	if (errno != EAGAIN && errno != EACCES)
		return errno == ENOLCK ? ST_NOMEM : ST_IO;
	*next = slot + 1;
	fl = range(key, slot, F_WRLCK);
	if (fcntl(s->fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK &&
	    fl.l_len > 0)
		*next = (int64_t)(fl.l_start + fl.l_len -
		    ((off_t)key << POOL_BITS));
	if (*next <= slot)
		*next = slot + 1;
	return ST_BUSY;
}

/*
 * The first slot in [at, end) that can be had.
 * Returns  ST_OK, ST_BUSY (there is none), ST_NOMEM, ST_IO
 */
static enum status
take_between(const struct slots *s, struct pool *p, int64_t at, int64_t end,
    int32_t *slot)
{
	enum status st = ST_BUSY;

	while (st == ST_BUSY && at < end) {
		if (holds(p, at)) {
			at++;
			continue;
		}
		st = make_room(p, at);
		if (st == ST_OK)
			st = try_slot(s, p->key, at, &at);
	}
	if (st == ST_OK) {
		p->held[at / WORD_BITS] |= 1ull << at % WORD_BITS;
		p->n_held++;
		*slot = (int32_t)at;
	}
	return st;
}

static int64_t
slots_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * From a word of the bitmap in which some are ours, but not all; else the
 * first of one in which none is, in the hope of the others of it.
 */
static enum status
take_apart(const struct slots *s, struct pool *p, int64_t max, int32_t *slot)
{
	enum status st = ST_BUSY;
	size_t word;
	int64_t at;

	for (word = 0; st == ST_BUSY && word < p->n_words; word++) {
		at = (int64_t)word * WORD_BITS;
		if (p->held[word] != 0 && p->held[word] != UINT64_MAX)
			st = take_between(s, p, at,
			    slots_least(at + WORD_BITS, max), slot);
	}
	for (at = 0; st == ST_BUSY && at < max; at += WORD_BITS) {
		word = (size_t)at / WORD_BITS;
		if (word >= p->n_words || p->held[word] == 0)
			st = take_between(s, p, at, at + 1, slot);
	}
	return st;
}

enum status
slots_take(struct slots *s, uint32_t key, int64_t max, int32_t *slot)
{
	struct pool *p = pool_get(s, key);
	enum status st = ST_BUSY;

	if (p == NULL)
		return ST_NOMEM;
	max = slots_least(max, POOL_SLOTS);
	if (max > SLOTS_LOWEST_FIRST)
		st = take_apart(s, p, max, slot);
	if (st == ST_BUSY)
		st = take_between(s, p, 0, max, slot);
	if (p->n_held == 0)
		pool_drop(s, p);
	return st == ST_BUSY ? ST_FULL : st;
}

void
slots_give(struct slots *s, uint32_t key, int32_t slot)
{
	struct flock fl = range(key, slot, F_UNLCK);
	struct pool *p;

	if (slot < 0)
		return;
	HASH_FIND(hh, s->pools, &key, sizeof(key), p);
	if (p == NULL || !holds(p, slot))
		return;
	(void)fcntl(s->fd, F_OFD_SETLK, &fl);
	p->held[slot / WORD_BITS] &= ~(1ull << slot % WORD_BITS);
	if (--p->n_held == 0)
		pool_drop(s, p);
}

/* ---- counting ---------------------------------------------------------- */

struct slots_count
slots_count_begin(uint32_t key, int64_t max)
{
	return (struct slots_count){
	    .key = key,
	    .max = max < POOL_SLOTS ? max : POOL_SLOTS,
	    .taken = -1,
	};
}

/* Of the first `max`, how many are ours. */
static int64_t
count_held(struct slots *s, uint32_t key, int64_t max)
{
	struct pool *p;
	int64_t n = 0;
	size_t i, word = (size_t)max / WORD_BITS;

	HASH_FIND(hh, s->pools, &key, sizeof(key), p);
	if (p == NULL)
		return 0;
	for (i = 0; i < word && i < p->n_words; i++)
		n += __builtin_popcountll(p->held[i]);
	if (word < p->n_words)
		n += __builtin_popcountll(
		    p->held[word] & ((1ull << max % WORD_BITS) - 1));
	return n;
}

/*
 * The first slots from c->at on that others hold: [*from, *end).  A lock that
 * the kernel tells of need not be the first one, so what lies before it is
 * asked for, too.  False: there are none.
 */
static bool
next_taken(const struct slots *s, const struct slots_count *c, int64_t *from,
    int64_t *end)
{
	off_t base = (off_t)c->key << POOL_BITS;
	bool found = false;

	*from = c->max;
	while (*from > c->at) {
		struct flock fl = range(c->key, c->at, F_WRLCK);

		fl.l_len = *from - c->at;
		if (fcntl(s->fd, F_OFD_GETLK, &fl) != 0 || fl.l_type == F_UNLCK)
			break;
		found = true;
		*from = fl.l_start > base + c->at ? fl.l_start - base : c->at;
		*end = fl.l_len == 0 ? c->max : fl.l_start + fl.l_len - base;
	}
	return found;
}

void
slots_count_go(struct slots *s, struct slots_count *c, uint64_t until_us)
{
	int64_t from, end = 0;

	while (next_taken(s, c, &from, &end)) {
		c->at = slots_least(end, c->max);
		c->so_far += c->at - from;
		if (clock_mono_us() >= until_us)
			return;
	}
	c->taken = c->so_far + count_held(s, c->key, c->max);
	c->at = 0;
	c->so_far = 0;
}
