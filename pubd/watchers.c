/* SPDX-License-Identifier: MIT */
/*
 * Watch connections.  Invariant: every watcher in a list belongs to a
 * connection that has not been freed, and is in `named` when it has a name.
 * Never blocks.
 */
#include "watchers.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "name.h"

/* A process reports once a second, and once more when it ends. */
#define REPORTS_MAX 10
#define REPORTS_US  1000000
/* Of those that do not report; others wait for their answers meanwhile. */
#define RING_PER_CALL 64
#define LOOK_PER_CALL 1024

struct watcher {
	TAILQ_ENTRY(watcher) link;
	struct conn *conn;
	int64_t told;     /* the head that it knows */
	unsigned opening; /* and the opening of the log that it is of */
	struct watchers_wish wish;
	bool waits;         /* there are news that it was not told */
	uint64_t at_us;     /* of the oldest of them; 0: not known */
	uint64_t report_us; /* since when reports are counted */
	unsigned n_reports;
	size_t name_len; /* 0: it has not reported */
	char name[NAME_MAX_BYTES];
};

void
watchers_init(struct watchers *ws)
{
	*ws = (struct watchers){.n = 0};
	TAILQ_INIT(&ws->list);
	TAILQ_INIT(&ws->named);
}

static struct watcher *
watcher_make(struct watchers *ws, struct conn *c)
{
	struct watcher *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->conn = c;
	c->watcher = w;
	TAILQ_INSERT_TAIL(&ws->list, w, link);
	return w;
}

static void
knows(struct watcher *w, const struct watchers_news *news)
{
	w->told = news->head;
	w->opening = news->opening;
	w->waits = false;
}

enum status
watchers_add(struct watchers *ws, struct conn *c,
    const struct watchers_news *news, struct watchers_wish wish)
{
	struct watcher *w = c->watcher;

	if (w == NULL)
		w = watcher_make(ws, c);
	if (w == NULL)
		return ST_NOMEM;
	ws->n += wish.wake;
	ws->n -= w->wish.wake;
	w->wish = wish;
	knows(w, news);
	return ST_OK;
}

/* ---- telling ------------------------------------------------------------ */

static void
tell(struct watcher *w, const struct watchers_news *news)
{
	struct conn *c = w->conn;
	size_t before = conn_out(c)->len;

	if (c->codec->head(conn_out(c), news->head,
		w->wish.timing ? w->at_us : 0) != ST_OK) {
		conn_kill(c); /* UNTESTED: no memory: shed it */
		return;
	}
	conn_wrote(c, before);
	knows(w, news);
}

static bool
is_told(const struct watcher *w, const struct watchers_news *news)
{
	return !w->wish.wake ||
	    (w->told == news->head && w->opening == news->opening);
}

/*
 * Tells it the news, the oldest of which were committed at at_us: now, or when
 * its socket has room again.  False: it has no room now.
 */
static bool
inform(struct watcher *w, const struct watchers_news *news, uint64_t at_us)
{
	if (!w->waits)
		w->at_us = at_us;
	w->waits = true;
	if (w->conn->dead)
		return true;
	if (conn_backlogged(w->conn))
		return false;
	tell(w, news);
	return true;
}

static bool
same(const struct watchers_news *a, const struct watchers_news *b)
{
	return a->head == b->head && a->opening == b->opening;
}

/* Begins a round of the list; false: all of it has been told. */
static bool
begin_round(struct watchers *ws, const struct watchers_news *news)
{
	if (same(&ws->done, news) && !ws->is_backlogged)
		return false;
	/* If others came meanwhile, nobody knows whose oldest news is which. */
	ws->is_late = !same(&ws->seen, &ws->done);
	ws->begun = ws->seen = *news;
	ws->is_backlogged = false;
	ws->next = TAILQ_FIRST(&ws->list);
	return true;
}

/* Some of the list.  True: others wait for it now. */
static bool
ring_some(struct watchers *ws, const struct watchers_news *news)
{
	int told = RING_PER_CALL, looked = LOOK_PER_CALL;
	struct watcher *w;

	if (ws->next == NULL && !begin_round(ws, news))
		return false;
	if (!same(&ws->seen, news)) {
		ws->seen = *news;
		ws->is_late = true;
	}
	while ((w = ws->next) != NULL && told > 0 && looked-- > 0) {
		ws->next = TAILQ_NEXT(w, link);
		if (is_told(w, news))
			continue;
		told--;
		if (!inform(w, news, ws->is_late ? 0 : news->at_us))
			ws->is_backlogged = true;
	}
	if (ws->next != NULL)
		return true;
	ws->done = ws->begun;
	return !same(&ws->done, news);
}

bool
watchers_ring(struct watchers *ws, const struct watchers_news *news)
{
	struct watcher *w;

	TAILQ_FOREACH (w, &ws->named, link)
		if (!is_told(w, news))
			(void)inform(w, news, news->at_us);
	return ring_some(ws, news);
}

/* ---- names -------------------------------------------------------------- */

static struct span
name_of(const struct watcher *w)
{
	return span_of(w->name, w->name_len);
}

/* It leaves the list; `next` does not stay behind at it. */
static void
leave_list(struct watchers *ws, struct watcher *w)
{
	if (ws->next == w)
		ws->next = TAILQ_NEXT(w, link);
	if (w->name_len > 0)
		TAILQ_REMOVE(&ws->named, w, link);
	else
		TAILQ_REMOVE(&ws->list, w, link);
}

/* Another one of that name. */
static const struct watcher *
namesake(const struct watchers *ws, const struct watcher *self,
    struct span name)
{
	const struct watcher *w;

	TAILQ_FOREACH (w, &ws->named, link)
		if (w != self && span_eq(name_of(w), name))
			return w;
	return NULL;
}

static bool
is_too_often(struct watcher *w, uint64_t now_us)
{
	if (now_us - w->report_us >= REPORTS_US) {
		w->report_us = now_us;
		w->n_reports = 0;
	}
	return ++w->n_reports > REPORTS_MAX;
}

enum status
watchers_report(struct watchers *ws, struct conn *c, struct span name,
    uint64_t now_us)
{
	struct watcher *w = c->watcher;
	const struct watcher *other;

	if (w == NULL || name.len == 0 || name.len > sizeof(w->name))
		return ST_INVALID;
	if (w->name_len > 0 && !span_eq(name_of(w), name))
		return ST_INVALID;
	if (w->name_len == 0) {
		other = namesake(ws, w, name);
		if (other != NULL && other->conn->peer_pid != c->peer_pid)
			return ST_EXISTS;
		leave_list(ws, w);
		TAILQ_INSERT_TAIL(&ws->named, w, link);
		memcpy(w->name, name.p, name.len);
		w->name_len = name.len;
	}
	return is_too_often(w, now_us) ? ST_FULL : ST_OK;
}

struct span
watchers_last_name(const struct watchers *ws, const struct conn *c)
{
	const struct watcher *w = c->watcher;

	if (w == NULL || w->name_len == 0 ||
	    namesake(ws, w, name_of(w)) != NULL)
		return SPAN_NONE;
	return name_of(w);
}

void
watchers_drop(struct watchers *ws, struct conn *c)
{
	struct watcher *w = c->watcher;

	if (w == NULL)
		return;
	leave_list(ws, w);
	ws->n -= w->wish.wake;
	free(w);
	c->watcher = NULL;
}
