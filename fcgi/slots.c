/* SPDX-License-Identifier: MIT */
/*
 * Slots in shared memory.  The kernel tells of locks of others only, so what
 * this process holds is kept in a bitmap for each pool.  Never blocks.
 */
#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define POOL_BITS  20 /* slots of one pool: a million */
#define POOL_SLOTS (1 << POOL_BITS)
#define WORD_BITS  64

struct pool {
	UT_hash_handle hh;
	uint32_t key;
	size_t n_held;
	size_t n_words;
	uint64_t *held; /* n_words, bit set: ours */
};

struct slots {
	int fd;
	struct pool *pools;
};

/* FNV-1a (draft-eastlake-fnv), 64 bits. */
static uint64_t
hash(uint64_t h, struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
	return h;
}

uint32_t
slots_key(struct span kind, struct span name)
{
	uint64_t h = hash(0xcbf29ce484222325u, kind);

	h = hash(h, SPAN(":"));
	h = hash(h, name);
	return (uint32_t)(h ^ h >> 32) & 0x7fffffff;
}

enum status
slots_open(struct slots **out, const char *database, struct errmsg *err)
{
	struct slots *s = calloc(1, sizeof(*s));
	char real[4096], name[64];
	struct stat sb;

	if (s == NULL)
		return ST_NOMEM;
	if (realpath(database, real) == NULL)
		(void)snprintf(real, sizeof(real), "%s", database);
	(void)snprintf(name, sizeof(name), "/walcast-%u-%016llx",
	    (unsigned)geteuid(),
	    (unsigned long long)hash(0xcbf29ce484222325u, span_str(real)));
	s->fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	if (s->fd >= 0 && fstat(s->fd, &sb) == 0 && sb.st_uid == geteuid()) {
		*out = s;
		return ST_OK;
	}
	errmsg_set(err,
	    "cannot count streams in shared memory %s: %s: mount /dev/shm, "
	    "or remove that file if it is another user's",
	    name, s->fd < 0 ? strerror(errno) : "not ours");
	slots_close(&s);
	return ST_IO;
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

enum status
slots_take(struct slots *s, uint32_t key, int64_t max, int32_t *slot)
{
	struct pool *p = pool_get(s, key);
	enum status st = ST_BUSY;
	int64_t at = 0;

	if (p == NULL)
		return ST_NOMEM;
	if (max > POOL_SLOTS)
		max = POOL_SLOTS;
	while (st == ST_BUSY && at < max) {
		if (holds(p, at)) {
			at++;
			continue;
		}
		st = make_room(p, at);
		if (st == ST_OK)
			st = try_slot(s, key, at, &at);
		if (st == ST_OK) {
			p->held[at / WORD_BITS] |= 1ull << at % WORD_BITS;
			p->n_held++;
			*slot = (int32_t)at;
		}
	}
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
