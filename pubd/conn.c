/* SPDX-License-Identifier: MIT */
/*
 * The life of connections, and their bytes from and to the sockets.
 *
 * Invariants: in_bytes and out_bytes are the sums over all open connections;
 * a connection that the loop is not asked about is in the held list, or
 * waits for its own answers; one whose line has no end yet is always read.
 * Nothing here blocks.
 */
#include "conn_private.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "sock.h"

#define READ_BYTES     ((size_t)64 * 1024)
#define READ_FEW       4096 /* when much was read in this turn */
#define READ_LEAST     1024 /* at once, however much waits */
#define READS_PER_TURN 4    /* of one, while there is more */
#define OUT_MAX        ((size_t)8 * 1024 * 1024) /* owed to one: closed */
#define WHOLE_TOTAL    ((size_t)8 * 1024 * 1024) /* lines that wait */

void
conns_init(struct conns *set, struct loop *l)
{
	*set = (struct conns){.loop = l,
	    .read_left = CONNS_READ_TURN,
	    .round = 1};
	peers_init(&set->peers);
	identities_init(&set->identities);
	TAILQ_INIT(&set->all);
	TAILQ_INIT(&set->held);
	TAILQ_INIT(&set->flush);
	TAILQ_INIT(&set->dead);
}

/* ---- bounds ------------------------------------------------------------- */

/* How much to read at once: always something, or no end would be seen. */
static size_t
read_bytes(const struct conns *set)
{
	size_t whole = set->in_bytes - set->peers.partial_bytes;
	size_t n = whole < WHOLE_TOTAL ? (WHOLE_TOTAL - whole) / 8 : 0;
	size_t most = set->read_left > 0 ? READ_BYTES : READ_FEW;

	if (n > most)
		return most;
	return n < READ_LEAST ? READ_LEAST : n;
}

static bool
may_read(const struct conn *c)
{
	return !c->eof && !c->dead && !c->is_held && !c->place.is_queued &&
	    c->out.len < CONN_OUT_HIGH;
}

/* ---- the loop's interest ------------------------------------------------ */

static void
ask_loop(struct conn *c, uint32_t events)
{
	enum status st = ST_OK;

	if (c->dead || events == c->events)
		return;
	if (events == 0) {
		/* Out of the loop: a hang-up would be told every turn. */
		loop_del(c->set->loop, &c->watch);
	} else if (c->watch.fd < 0) {
		c->watch.fd = c->fd;
		st = loop_add(c->set->loop, &c->watch, events);
		if (st != ST_OK)
			c->watch.fd = -1;
	} else {
		st = loop_mod(c->set->loop, &c->watch, events);
	}
	c->events = events;
	if (st != ST_OK)
		conn_kill(c);
}

static bool
is_done(const struct conn *c)
{
	return c->eof && c->in.len == 0 && c->n_waiting == 0 && c->out.len == 0;
}

/*
 * Nothing is owed any more.  When it was we who ended it, the peer may be
 * writing still: a close would fail its write before it has read its last
 * answers, so it is shown the end of them first.
 */
static void
conn_finish(struct conn *c)
{
	if (c->lingers)
		return;
	if (!c->cut || c->deaf || shutdown(c->fd, SHUT_WR) < 0) {
		conn_kill(c);
		return;
	}
	c->lingers = true;
	c->set->n_lingering++;
	ask_loop(c, EPOLLRDHUP);
}

void
conn_settle(struct conn *c)
{
	uint32_t events = 0;

	if (c->dead)
		return;
	if (is_done(c)) {
		conn_finish(c);
		return;
	}
	if (may_read(c))
		events |= EPOLLIN;
	if (c->out.len > 0)
		events |= EPOLLOUT;
	ask_loop(c, events);
}

/* ---- reading ------------------------------------------------------------ */

/* What lay in the socket when we were told to stop has been read. */
static void
cut_off(struct conn *c)
{
	if (c->eof)
		return;
	c->eof = true;
	c->cut = true;
}

/* The end, or an error that comes to the same. */
static void
note_read(struct conn *c, enum status st, size_t n)
{
	struct conns *set = c->set;

	if (st != ST_OK) {
		c->eof = true;
		return;
	}
	buf_grew(&c->in, n);
	set->in_bytes += n;
	set->read_left -= n < set->read_left ? n : set->read_left;
	c->left -= set->stopping ? n : 0;
	c->moved_us = c->read_us = loop_now_us(set->loop);
	peers_heard(&c->place, c->read_us);
}

/* Reads once.  True: there may be more. */
static bool
read_once(struct conn *c)
{
	size_t n = 0, room, most = read_bytes(c->set);
	enum status st = buf_reserve(&c->in, most);

	if (st != ST_OK) {
		conn_kill(c); /* UNTESTED: no memory: shed it */
		return false;
	}
	room = buf_room(&c->in);
	if (room > most)
		room = most;
	if (c->set->stopping && room > c->left)
		room = c->left;
	st = sock_read(c->fd, buf_tail(&c->in), room, &n);
	if (st == ST_AGAIN) {
		if (c->in.len == 0)
			buf_shrink(&c->in, CONN_KEEP_BYTES);
		return false;
	}
	note_read(c, st, n);
	if (c->set->stopping && c->left == 0)
		cut_off(c);
	return st == ST_OK && n == room && c->set->read_left > 0;
}

static void
read_input(struct conn *c)
{
	int i;

	for (i = 0; i < READS_PER_TURN && may_read(c) && read_once(c); i++)
		;
	if (!c->place.is_queued && !c->is_held)
		conn_offer(c);
}

/* ---- answers ------------------------------------------------------------ */

struct buf *
conn_out(struct conn *c)
{
	return &c->out;
}

void
conn_wrote(struct conn *c, size_t before_bytes)
{
	if (c->dead)
		return;
	c->set->out_bytes += c->out.len - before_bytes;
	if (c->is_flush)
		return;
	c->is_flush = true;
	TAILQ_INSERT_TAIL(&c->set->flush, c, flush);
}

bool
conn_backlogged(const struct conn *c)
{
	return (c->events & EPOLLOUT) != 0;
}

static void
drop_output(struct conn *c, size_t n)
{
	buf_consume(&c->out, n);
	c->set->out_bytes -= n;
	if (c->out.len == 0)
		buf_shrink(&c->out, CONN_KEEP_BYTES);
}

void
conn_write_out(struct conn *c)
{
	enum status st = ST_OK;
	size_t n;

	while (st == ST_OK && c->out.len > 0 && !c->deaf) {
		st = sock_write(c->fd, buf_span(&c->out), &n);
		if (st == ST_OK) {
			drop_output(c, n);
			c->moved_us = loop_now_us(c->set->loop);
		} else if (st != ST_AGAIN) {
			/* It may be there still: it must not wait for ever. */
			c->deaf = true;
			(void)shutdown(c->fd, SHUT_WR);
		}
	}
	if (c->deaf)
		/* What it has sent counts all the same: read on to its end. */
		drop_output(c, c->out.len);
}

void
conns_flush(struct conns *set)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&set->flush)) != NULL) {
		TAILQ_REMOVE(&set->flush, c, flush);
		c->is_flush = false;
		if (c->dead)
			continue;
		conn_write_out(c);
		conn_settle(c);
	}
}

/* ---- life --------------------------------------------------------------- */

static void
conn_event(struct watch *w, uint32_t events)
{
	struct conn *c = (struct conn *)(void *)w; /* its first member */

	if (c->dead)
		return;
	if (c->lingers) {
		conn_kill(c);
		return;
	}
	if (events & EPOLLOUT)
		conn_write_out(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_input(c);
	conn_settle(c);
	conns_make_room(c->set);
}

/* Who connected, as the kernel kept it. */
static enum status
look_at_peer(struct conn *c)
{
	enum status st = identities_look(&c->set->identities, c->fd,
	    &c->peer_pid, &c->identity);

	if (st != ST_OK)
		return st; /* UNTESTED: no memory */
	c->peer_uid = c->identity->uid;
	return peers_join(&c->set->peers, &c->place, c->peer_uid, &c->n_waiting,
	    c->moved_us);
}

enum status
conns_take_fd(struct conns *set, int fd, const struct codec *codec)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)close(fd);
		return ST_NOMEM;
	}
	c->set = set;
	c->fd = fd;
	c->codec = codec;
	c->watch = (struct watch){.fd = -1, .fn = conn_event};
	c->moved_us = loop_now_us(set->loop);
	if (look_at_peer(c) != ST_OK) {
		identities_unref(&set->identities, &c->identity);
		(void)close(fd);
		free(c);
		return ST_NOMEM;
	}
	c->is_own = c->peer_pid == (int64_t)getpid();
	if (!c->is_own)
		c->number = ++set->n_taken;
	buf_init(&c->in, SIZE_MAX / 2); /* bounded by the codec */
	buf_init(&c->out, OUT_MAX);
	TAILQ_INSERT_TAIL(&set->all, c, all);
	set->n++;
	if (!c->is_own)
		LOG_EVENT(LOG_DEBUG_, "publisher.connect",
		    LOG_INT("conn", c->number), LOG_INT("pid", c->peer_pid),
		    LOG_INT("uid", c->peer_uid));
	conn_settle(c);
	conns_keep_few(set, c);
	return ST_OK;
}

void
conn_stand(struct conn *c, enum peer_standing standing)
{
	if (!c->dead)
		peers_stand(&c->place, standing);
}

void
conn_kill(struct conn *c)
{
	struct conns *set = c->set;

	if (c->dead)
		return;
	c->dead = true;
	conn_release(c);
	peers_leave(&set->peers, &c->place);
	loop_del(set->loop, &c->watch);
	(void)close(c->fd);
	c->fd = -1;
	set->in_bytes -= c->in.len;
	set->out_bytes -= c->out.len;
	TAILQ_REMOVE(&set->all, c, all);
	TAILQ_INSERT_TAIL(&set->dead, c, all);
	set->n--;
	if (!c->is_own)
		LOG_EVENT(LOG_DEBUG_, "publisher.disconnect",
		    LOG_INT("conn", c->number), LOG_INT("pid", c->peer_pid),
		    LOG_INT("uid", c->peer_uid));
	set->n_lingering -= c->lingers ? 1 : 0;
}

static void
conn_free(struct conn *c)
{
	struct conns *set = c->set;

	TAILQ_REMOVE(&set->dead, c, all);
	if (c->is_flush)
		TAILQ_REMOVE(&set->flush, c, flush);
	if (set->gone != NULL)
		set->gone(set->arg, c);
	identities_unref(&set->identities, &c->identity);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

void
conns_reap(struct conns *set)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&set->dead); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->n_waiting == 0)
			conn_free(c);
	}
}

void
conns_fini(struct conns *set)
{
	struct conn *c, *next;

	while ((c = TAILQ_FIRST(&set->all)) != NULL)
		conn_kill(c);
	for (c = TAILQ_FIRST(&set->dead); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		conn_free(c);
	}
}

/* ---- the end ------------------------------------------------------------ */

void
conns_stop(struct conns *set)
{
	struct conn *c, *next;
	int n;

	set->stopping = true;
	for (c = TAILQ_FIRST(&set->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		n = 0;
		(void)ioctl(c->fd, FIONREAD, &n);
		c->left = n > 0 ? (size_t)n : 0;
		if (c->left > 0)
			continue; /* the loop tells of it */
		cut_off(c);
		conn_offer(c);
		conn_settle(c);
	}
}
