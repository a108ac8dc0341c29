/* SPDX-License-Identifier: MIT */
/*
 * Pages of the store.  Owns their text.  Blocks on the disk, for one page at
 * a time; nothing is written to a socket while a statement is open.
 */
#include "replay.h"

#include <stdlib.h>

#include "fmt.h"
#include "frame.h"

#define PAGES         8
#define PAGE_BYTES    (256u * 1024) /* of text; one event may be larger */
#define PAGE_ROWS     4096          /* looked at for one page */
#define PAGE_KEEP     (512u * 1024) /* memory a page may keep */
#define FRAME_MAX     (40u << 20)   /* of one event, all escapes counted */
#define SERVES_A_TURN 64
#define READS_A_TURN  2 /* some ms: the live ones wait for it */
/* To find the newest n, for a stream that begins with them: */
#define NEWEST_LINKS 1024  /* rows, when all channels are known by name */
#define NEWEST_ROWS  4096  /* rows behind the ring */
#define NEWEST_ALONE 65536 /* rows where nothing is in the ring */

/* An event in a page. */
struct place {
	int64_t id;
	size_t end; /* of its frame, in the page's text */
	int64_t commit_us;
};

/*
 * What one subscription wants of a stretch of the log.  Any stream with this
 * subscription whose cursor is in the stretch is served from it.
 */
struct page {
	uint64_t sub_serial; /* 0: empty */
	int64_t after_id;    /* holds what is wanted in (after_id, scanned] */
	int64_t scanned_id;
	uint64_t used;
	struct buf text;
	struct place place[PAGE_ROWS];
	size_t n;
};

struct replay {
	struct hub *hub;
	struct log_reader *log;
	uint32_t epoch;        /* of the hub's, to which the pages belong */
	const struct sub *sub; /* whose page is being read */
	struct page *filling;
	int64_t too_large; /* first in that page, and cannot be sent; or 0 */
	struct page page[PAGES];
	uint64_t clock; /* counts uses */
	uint64_t n_pages;
};

enum status
replay_new(struct replay **out, struct hub *h, struct log_reader *log)
{
	struct replay *r = calloc(1, sizeof(*r));
	int i;

	if (r == NULL)
		return ST_NOMEM;
	r->hub = h;
	r->log = log;
	for (i = 0; i < PAGES; i++)
		buf_init(&r->page[i].text, FRAME_MAX);
	*out = r;
	return ST_OK;
}

void
replay_free(struct replay **r)
{
	int i;

	if (*r == NULL)
		return;
	for (i = 0; i < PAGES; i++)
		buf_fini(&(*r)->page[i].text);
	free(*r);
	*r = NULL;
}

void
replay_reset(struct replay *r)
{
	int i;

	for (i = 0; i < PAGES; i++)
		r->page[i].sub_serial = 0;
}

static enum store_verdict
want_row(void *arg, const struct event *e)
{
	const struct replay *r = arg;

	return subs_match(r->sub, e->channel, e->event) ? STORE_TAKE
							: STORE_SKIP;
}

static enum status
replay_take_row(void *arg, const struct event *e)
{
	struct replay *r = arg;
	struct page *p = r->filling;
	size_t before = p->text.len;
	enum status st;

	if (p->n == PAGE_ROWS || before >= PAGE_BYTES)
		return ST_FULL;
	st = r->sub->envelope ? frame_envelope(&p->text, e)
			      : frame_event(&p->text, e);
	if (st != ST_OK) {
		buf_truncate(&p->text, before);
		if (st == ST_FULL && p->n == 0)
			r->too_large = e->id;
		return st;
	}
	p->place[p->n++] = (struct place){e->id, p->text.len,
	    hub_commit_us(r->hub, e)};
	return ST_OK;
}

/* A page that holds what comes after `cursor` for this subscription. */
static struct page *
find_page(struct replay *r, const struct sub *sub, int64_t cursor)
{
	int i;

	for (i = 0; i < PAGES; i++) {
		struct page *p = &r->page[i];

		if (p->sub_serial == sub->serial && cursor >= p->after_id &&
		    cursor < p->scanned_id) {
			p->used = ++r->clock;
			return p;
		}
	}
	return NULL;
}

static struct page *
oldest_page(struct replay *r)
{
	struct page *p = &r->page[0];
	int i;

	for (i = 1; i < PAGES; i++)
		if (r->page[i].used < p->used)
			p = &r->page[i];
	return p;
}

static enum status
replay_read_page(struct replay *r, const struct sub *sub, struct store_page *sp)
{
	struct page *p = oldest_page(r);
	enum status st;

	p->sub_serial = 0;
	p->n = 0;
	buf_shrink(&p->text, PAGE_KEEP);
	r->sub = sub;
	r->filling = p;
	r->too_large = 0;
	sp->upto_id = hub_head(r->hub);
	sp->max_rows = PAGE_ROWS;
	sp->want = want_row;
	sp->take = replay_take_row;
	sp->arg = r;
	st = log_reader_read(r->log, sp);
	if (st != ST_OK)
		return st;
	p->sub_serial = sub->serial;
	p->after_id = sp->after_id;
	p->scanned_id = sp->scanned_id;
	if (sp->end || sp->first_id > sp->upto_id)
		p->scanned_id = sp->upto_id;
	p->used = ++r->clock;
	r->n_pages++;
	return ST_OK;
}

/* Takes from a page what follows the cursor; for hub_send_page. */
static void
fill_chunk(const void *page, int64_t cursor, struct chunk *chunk)
{
	const struct page *p = page;
	size_t lo = 0, hi = p->n, at;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->place[mid].id > cursor)
			hi = mid;
		else
			lo = mid + 1;
	}
	for (; lo < p->n; lo++) {
		at = lo == 0 ? 0 : p->place[lo - 1].end;
		if (!chunk_add(chunk, p->place[lo].id,
			span_of(buf_span(&p->text).p + at,
			    p->place[lo].end - at),
			p->place[lo].commit_us))
			return;
	}
	chunk_scanned(chunk, p->scanned_id);
}

static void
replay_tell_gap(struct replay *r, struct stream *s,
    const struct store_bounds *b, int64_t position, int64_t lost)
{
	char requested[FMT_INT64_MAX];
	struct frame_gap g = {
	    .code = GAP_EXPIRED,
	    .position = position,
	    .oldest = b->oldest,
	    .newest = b->head,
	    .lost = lost,
	};

	g.requested = span_of(requested, fmt_int64(requested, s->place.cursor));
	hub_give_gap(r->hub, s, &g);
}

/*
 * The page began with a later event than the next: has retention passed the
 * stream?
 *
 * told     yes, and it was told
 * Returns  ST_OK; ST_AGAIN: the hub has not heard of it, wait for the tail
 */
static enum status
check_gap(struct replay *r, struct stream *s, bool *told)
{
	int64_t cursor = s->place.cursor;
	struct store_bounds b;
	enum status st = log_reader_bounds(r->log, &b);

	*told = false;
	if (st != ST_OK || b.oldest - 1 <= cursor)
		return st;
	if (b.oldest - 1 > hub_head(r->hub))
		return ST_AGAIN;
	replay_tell_gap(r, s, &b, b.oldest - 1, b.oldest - 1 - cursor);
	*told = true;
	return ST_OK;
}

/* An event that no frame can hold: say so, and go on behind it. */
static enum status
pass_too_large(struct replay *r, struct stream *s)
{
	struct store_bounds b;
	enum status st = log_reader_bounds(r->log, &b);

	if (st == ST_OK)
		replay_tell_gap(r, s, &b, r->too_large, 1);
	return st;
}

/*
 * Reads a page for the stream and gives it.  A page that begins with a gap is
 * for nobody else: each stream has to hear of its own.
 */
static enum status
serve_by_read(struct replay *r, struct stream *s)
{
	struct store_page sp = {.after_id = s->place.cursor};
	enum status st = replay_read_page(r, s->sub, &sp);
	bool told = false;

	if (st == ST_OK && sp.first_id - 1 != sp.after_id) {
		st = check_gap(r, s, &told);
		if (st != ST_OK || told)
			r->filling->sub_serial = 0;
		if (told)
			return ST_OK;
	}
	if (st == ST_OK && r->too_large != 0)
		st = pass_too_large(r, s);
	else if (st == ST_OK)
		hub_send_page(r->hub, s, fill_chunk, r->filling);
	if (st != ST_OK)
		hub_later(r->hub, s); /* the others' pages may be sound */
	return st;
}

/* Serves the streams that wait; *more tells that not all of them were. */
static enum status
serve_paging(struct replay *r, bool *more)
{
	struct stream *s;
	enum status st = ST_OK;
	int n, n_reads = 0;

	for (n = 0; st == ST_OK && n < SERVES_A_TURN; n++) {
		struct page *p;

		s = hub_first_paging(r->hub);
		if (s == NULL)
			break;
		p = find_page(r, s->sub, s->place.cursor);
		if (p != NULL) {
			hub_send_page(r->hub, s, fill_chunk, p);
			continue;
		}
		if (n_reads++ == READS_A_TURN)
			break;
		st = serve_by_read(r, s);
	}
	*more = st == ST_OK && hub_first_paging(r->hub) != NULL;
	return st == ST_AGAIN ? ST_OK : st;
}

enum status
replay_turn(struct replay *r, bool *more)
{
	*more = false;
	if (!log_reader_is_open(r->log) || hub_first_paging(r->hub) == NULL)
		return ST_OK;
	if (r->epoch != hub_epoch(r->hub)) {
		replay_reset(r);
		r->epoch = hub_epoch(r->hub);
	}
	return serve_paging(r, more);
}

/*
 * What the ring has not, in a bounded number of rows; where there is no ring
 * (plain CGI) no other stream waits for this one.
 */
static enum status
newest_by_scan(struct replay *r, const struct sub *sub, int n,
    int64_t *position)
{
	struct store_page sp = {.max_rows = NEWEST_ROWS,
	    .want = want_row,
	    .arg = r};
	struct hub_newest ring;
	int64_t older;
	enum status st;

	hub_find_newest(r->hub, sub, n, &ring);
	*position = ring.position;
	if (ring.older == 0) /* would be no bound */
		return ST_OK;
	if (ring.older == hub_head(r->hub))
		sp.max_rows = NEWEST_ALONE;
	sp.upto_id = older = ring.older;
	st = log_reader_newest(r->log, &sp, n - ring.n_found, &older);
	if (st == ST_OK && older < sp.upto_id)
		*position = older;
	return st;
}

enum status
replay_newest(struct replay *r, const struct sub *sub, int n, int64_t *position)
{
	struct store_page sp = {.upto_id = hub_head(r->hub),
	    .max_rows = NEWEST_LINKS,
	    .want = want_row,
	    .arg = r};
	const struct span *name;
	size_t n_names;
	enum status st = ST_FULL;

	if (sp.upto_id == 0) { /* would be no bound */
		*position = 0;
		return ST_OK;
	}
	r->sub = sub;
	if (subs_names(sub, &name, &n_names) && n <= NEWEST_LINKS)
		st = log_reader_newest_of(r->log, name, n_names, &sp, n,
		    position);
	if (st == ST_FULL)
		st = newest_by_scan(r, sub, n, position);
	return st;
}

uint64_t
replay_n_pages(const struct replay *r)
{
	return r->n_pages;
}
