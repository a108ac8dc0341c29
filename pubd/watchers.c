/* SPDX-License-Identifier: MIT */
/*
 * Watch connections.  Invariant: every watcher in the list belongs to a
 * connection that has not been freed.  Never blocks.
 */
#include "watchers.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "name.h"
#include "protocol.h"

struct watcher {
	TAILQ_ENTRY(watcher) link;
	struct conn *conn;
	int64_t told;     /* the head that it knows */
	unsigned opening; /* and the opening of the log that it is of */
	size_t name_len;
	char name[NAME_MAX_BYTES];
};

void
watchers_init(struct watchers *ws)
{
	TAILQ_INIT(&ws->list);
	ws->n = 0;
}

enum status
watchers_add(struct watchers *ws, struct conn *c, int64_t head,
    unsigned opening)
{
	struct watcher *w = c->watcher;

	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL)
			return ST_NOMEM;
		w->conn = c;
		c->watcher = w;
		TAILQ_INSERT_TAIL(&ws->list, w, link);
		ws->n++;
	}
	w->told = head;
	w->opening = opening;
	return ST_OK;
}

static void
tell(struct watcher *w, int64_t head, unsigned opening)
{
	struct conn *c = w->conn;
	size_t before = conn_out(c)->len;

	if (protocol_head(conn_out(c), head) != ST_OK) {
		conn_kill(c); /* UNTESTED: no memory: shed it */
		return;
	}
	conn_wrote(c, before);
	w->told = head;
	w->opening = opening;
}

void
watchers_ring(struct watchers *ws, int64_t head, unsigned opening)
{
	struct watcher *w;

	TAILQ_FOREACH (w, &ws->list, link)
		if ((w->told != head || w->opening != opening) &&
		    !w->conn->dead && !conn_backlogged(w->conn))
			tell(w, head, opening);
}

enum status
watchers_named(struct conn *c, struct span name)
{
	struct watcher *w = c->watcher;

	if (w == NULL || name.len > sizeof(w->name))
		return ST_INVALID;
	memcpy(w->name, name.p, name.len);
	w->name_len = name.len;
	return ST_OK;
}

struct span
watchers_name(const struct conn *c)
{
	if (c->watcher == NULL || c->watcher->name_len == 0)
		return SPAN_NONE;
	return span_of(c->watcher->name, c->watcher->name_len);
}

void
watchers_drop(struct watchers *ws, struct conn *c)
{
	struct watcher *w = c->watcher;

	if (w == NULL)
		return;
	TAILQ_REMOVE(&ws->list, w, link);
	ws->n--;
	free(w);
	c->watcher = NULL;
}
