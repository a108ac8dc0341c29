/* SPDX-License-Identifier: MIT */
/*
 * Connections.
 *
 * Invariants: in_bytes and out_bytes are the sums over all open connections;
 * a connection that the loop is not asked about is in the held list, or
 * waits for its own answers; one whose line has no end yet is always read.
 * Nothing here blocks.
 */
#include "conn.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "sock.h"

#define READ_BYTES       ((size_t)64 * 1024)
#define READ_FEW         4096 /* when much was read in this turn */
#define READ_LEAST       1024 /* at once, however much waits */
#define READS_PER_TURN   4    /* of one, while there is more */
#define READ_TURN        ((size_t)1024 * 1024) /* then 4 KiB each */
#define COST_PER_TURN    2048
#define LONG_BYTES       ((size_t)64 * 1024)  /* a line worth a turn */
#define MAX_WAITING      4096                 /* requests of one in a batch */
#define OUT_HIGH         ((size_t)256 * 1024) /* answers owed to one */
#define OUT_MAX          ((size_t)8 * 1024 * 1024)
#define OUT_TOTAL        ((size_t)16 * 1024 * 1024)
#define WHOLE_TOTAL      ((size_t)8 * 1024 * 1024) /* lines that wait */
#define PARTIAL_TOTAL    ((size_t)8 * 1024 * 1024) /* and unfinished ones */
#define KEEP_BYTES       0 /* an idle connection has no buffers */
#define STUCK_US         10000000
#define RELIEVE_US       100000
#define RELIEVE_PER_TURN 8
#define IDLE_PER_TURN    64
#define FIT_BYTES        ((size_t)16 * 1024) /* more of a line may grow */

void
conns_init(struct conns *set, struct loop *l)
{
	*set = (struct conns){.loop = l, .read_left = READ_TURN, .round = 1};
	peers_init(&set->peers);
	TAILQ_INIT(&set->all);
	TAILQ_INIT(&set->held);
	TAILQ_INIT(&set->flush);
	TAILQ_INIT(&set->dead);
}

/* ---- bounds ------------------------------------------------------------- */

/* One line of the greatest length must always fit. */
static bool
in_over(const struct conns *set)
{
	return set->peers.partial_bytes >= PARTIAL_TOTAL + set->max_line_bytes;
}

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

/* May another line of this connection become a request now? */
static bool
may_take(const struct conn *c)
{
	if (c->dead || c->n_waiting >= MAX_WAITING || c->out.len >= OUT_HIGH ||
	    c->full_round == c->set->round)
		return false;
	/* All together over the bound: one at a time for each. */
	return c->set->out_bytes < OUT_TOTAL ||
	    (c->n_waiting == 0 && c->out.len == 0);
}

static bool
may_read(const struct conn *c)
{
	return !c->eof && !c->dead && !c->is_held && !c->place.is_queued &&
	    c->out.len < OUT_HIGH;
}

static void
hold(struct conn *c)
{
	if (c->is_held || c->dead)
		return;
	c->is_held = true;
	c->set->n_held++;
	TAILQ_INSERT_TAIL(&c->set->held, c, held);
}

static void
release(struct conn *c)
{
	if (!c->is_held)
		return;
	c->is_held = false;
	c->set->n_held--;
	TAILQ_REMOVE(&c->set->held, c, held);
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
finish(struct conn *c)
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

/* Called whenever something of the connection has changed. */
static void
settle(struct conn *c)
{
	uint32_t events = 0;

	if (c->dead)
		return;
	if (is_done(c)) {
		finish(c);
		return;
	}
	if (may_read(c))
		events |= EPOLLIN;
	if (c->out.len > 0)
		events |= EPOLLOUT;
	ask_loop(c, events);
}

/* ---- lines -------------------------------------------------------------- */

/* What `in` begins with has an end now, or is gone. */
static void
no_partial(struct conn *c)
{
	peers_partial(&c->set->peers, &c->place, 0, 0);
}

/* All of `in` is a line without an end: it takes no more than it needs. */
static void
note_partial(struct conn *c)
{
	peers_partial(&c->set->peers, &c->place, c->in.len,
	    loop_now_us(c->set->loop));
	if (c->in.len <= FIT_BYTES)
		buf_fit(&c->in);
}

static void
drop_input(struct conn *c, size_t n)
{
	buf_consume(&c->in, n);
	c->set->in_bytes -= n;
	c->scanned = 0;
	no_partial(c);
	if (c->in.len == 0)
		buf_shrink(&c->in, KEEP_BYTES);
}

/*
 * Answers for a line that is not taken, and drops its n bytes; when it has
 * no end yet the rest is skipped.  False: the answer has no room now.
 */
static bool
refuse_line(struct conn *c, enum status why, size_t n, bool ended)
{
	enum status st = c->set->refuse(c->set->arg, c, why);

	if (st == ST_FULL)
		return false;
	if (st != ST_OK) {
		conn_kill(c);
		return true;
	}
	c->skipping = !ended;
	drop_input(c, n);
	return true;
}

/*
 * The next line in `in`; *n is what it takes up there.
 * Returns  ST_OK, or ST_AGAIN when there is no whole one
 */
static enum status
next_line(struct conn *c, struct span *line, size_t *n)
{
	struct span in = buf_span(&c->in);
	const char *newline = NULL;

	if (in.p != NULL && in.len > c->scanned)
		newline = memchr(in.p + c->scanned, '\n', in.len - c->scanned);
	if (newline != NULL) {
		no_partial(c);
		*line = span_of(in.p, (size_t)(newline - in.p));
		*n = line->len + 1;
		return ST_OK;
	}
	c->scanned = in.len;
	if (!c->eof || in.len == 0)
		return ST_AGAIN;
	no_partial(c);
	*line = in;
	*n = in.len;
	if (c->set->stopping)
		line->len = 0; /* cut off by us, not ended by the peer */
	return ST_OK;
}

/* The part of a line that has no end yet: bounded, or being skipped. */
static void
check_partial(struct conn *c)
{
	if (c->skipping) {
		drop_input(c, c->in.len);
	} else if (c->in.len > c->set->max_line_bytes) {
		if (!refuse_line(c, ST_TOOLARGE, c->in.len, false))
			hold(c);
	} else {
		note_partial(c);
	}
}

/* One whole line of n bytes in `in`; false: it stays there. */
static bool
take_line(struct conn *c, struct span line, size_t n)
{
	enum status st;

	if (c->skipping) {
		c->skipping = false;
		drop_input(c, n);
		return true;
	}
	if (!may_take(c))
		return false;
	if (line.len > c->set->max_line_bytes)
		return refuse_line(c, ST_TOOLARGE, n, true);
	st = c->set->line(c->set->arg, c, line);
	if (st == ST_FULL) {
		c->full_round = c->set->round;
		return false;
	}
	if (st != ST_OK)
		conn_kill(c);
	if (!c->dead)
		drop_input(c, n);
	return true;
}

/* Something has come in, or its end: a whole line waits for its turn. */
static void
offer(struct conn *c)
{
	struct span line;
	size_t n;

	if (c->dead)
		return;
	if (next_line(c, &line, &n) == ST_OK)
		peers_queue(&c->set->peers, &c->place);
	else
		check_partial(c);
}

/* None is left, or none can be taken now. */
static void
end_turn(struct conn *c, bool blocked)
{
	peers_unqueue(&c->set->peers, &c->place);
	if (blocked)
		hold(c);
	else
		check_partial(c);
	settle(c);
}

/*
 * Would a line of n bytes hold up for long those whose lines were taken in
 * this turn?  Then they are answered first; once only, or it would never come.
 */
static bool
put_off(struct conns *set, size_t n)
{
	if (n < LONG_BYTES)
		return false;
	set->put_off = set->turn_left < COST_PER_TURN && !set->put_off;
	if (set->put_off)
		set->turn_left = 0;
	return set->put_off;
}

/* Lines of one connection, as long as its credit lasts. */
static void
take_turn(struct conn *c)
{
	struct conns *set = c->set;
	struct span line;
	size_t n;

	while (!c->dead && c->place.credit > 0) {
		if (next_line(c, &line, &n) != ST_OK) {
			end_turn(c, false);
			return;
		}
		if (put_off(set, n))
			break;
		set->cost = 1;
		if (!take_line(c, line, n)) {
			set->turn_left -= set->cost;
			end_turn(c, true);
			return;
		}
		peers_charge(&c->place, set->cost);
		set->turn_left -= set->cost;
	}
	if (!c->dead)
		peers_rotate(&c->place);
}

void
conns_take_lines(struct conns *set)
{
	struct peer_place *at;

	set->turn_left = COST_PER_TURN;
	while (set->turn_left > 0 && (at = peers_next(&set->peers)) != NULL)
		take_turn(OWNER_OF(at, struct conn, place));
	set->read_left = READ_TURN;
}

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
			buf_shrink(&c->in, KEEP_BYTES);
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
		offer(c);
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

static void
drop_output(struct conn *c, size_t n)
{
	buf_consume(&c->out, n);
	c->set->out_bytes -= n;
	if (c->out.len == 0)
		buf_shrink(&c->out, KEEP_BYTES);
}

static void
write_output(struct conn *c)
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
		write_output(c);
		settle(c);
	}
}

/* ---- who has to go ------------------------------------------------------ */

static void
tell_spared(struct conn *c, enum conn_spared why)
{
	static const char *const reason[CONN_N_SPARED] = {
	    [CONN_ROOM] = "unfinished lines are too many",
	    [CONN_IDLE] = "idle",
	    [CONN_FDS] = "descriptors get short"};
	struct conns *set = c->set;

	set->n_spared[why]++;
	if (!log_gate(&set->gate, loop_now_us(set->loop)))
		return;
	LOG_EVENT(why == CONN_IDLE ? LOG_DEBUG_ : LOG_WARN_, "publisher.closed",
	    LOG_INT("conn", c->number), LOG_INT("pid", c->peer_pid),
	    LOG_INT("uid", c->peer_uid),
	    LOG_STR("reason", span_str(reason[why])));
}

/*
 * Closes it; it is told why when its socket takes that at once.  What it is
 * owed keeps it: then only its line goes.
 */
static void
spare(struct conn *c, enum conn_spared why)
{
	struct conns *set = c->set;
	enum status st = ST_OK;

	if (c->n_waiting > 0 && why != CONN_FDS) {
		if (refuse_line(c, ST_BUSY, c->in.len, false)) {
			settle(c);
			return;
		}
	} else if (why == CONN_ROOM) {
		st = set->refuse(set->arg, c, ST_BUSY);
		if (st == ST_OK)
			write_output(c);
	}
	tell_spared(c, why);
	conn_kill(c);
}

static struct conn *
at_place(struct peer_place *at)
{
	return at == NULL ? NULL : OWNER_OF(at, struct conn, place);
}

/* Unfinished lines are not more than their bound. */
static void
make_room(struct conns *set)
{
	struct conn *c;

	while (in_over(set) &&
	    (c = at_place(peers_unfinished(&set->peers))) != NULL)
		spare(c, CONN_ROOM);
}

static void
end_idle(struct conns *set, uint64_t now_us)
{
	int budget = IDLE_PER_TURN;
	struct conn *c;

	while (set->max_idle_us > 0 && budget-- > 0 &&
	    (c = at_place(peers_idle(&set->peers, now_us, set->max_idle_us))) !=
		NULL)
		spare(c, CONN_IDLE);
}

void
conn_stand(struct conn *c, enum peer_standing standing)
{
	if (!c->dead)
		peers_stand(&c->place, standing);
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
		write_output(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_input(c);
	settle(c);
	make_room(c->set);
}

/* Who connected, as the kernel kept it. */
static void
look_at_peer(struct conn *c)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	c->peer_uid = -1;
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return;
	c->peer_pid = (int64_t)who.pid;
	c->peer_uid = (int64_t)who.uid;
}

/* One more than there are descriptors for: one goes. */
static void
keep_few(struct conns *set, struct conn *newest)
{
	if (set->max_conns == 0 || set->n <= set->max_conns || newest->dead)
		return;
	spare(at_place(peers_spare(&set->peers, &newest->place,
		  loop_now_us(set->loop))),
	    CONN_FDS);
}

enum status
conns_take_fd(struct conns *set, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)close(fd);
		return ST_NOMEM;
	}
	c->set = set;
	c->fd = fd;
	c->watch = (struct watch){.fd = -1, .fn = conn_event};
	c->moved_us = loop_now_us(set->loop);
	look_at_peer(c);
	if (peers_join(&set->peers, &c->place, c->peer_uid, &c->n_waiting,
		c->moved_us) != ST_OK) {
		(void)close(fd);
		free(c);
		return ST_NOMEM;
	}
	c->is_own = c->peer_pid == (int64_t)getpid();
	if (!c->is_own)
		c->number = ++set->n_taken;
	buf_init(&c->in, SIZE_MAX / 2); /* bounded by check_partial */
	buf_init(&c->out, OUT_MAX);
	TAILQ_INSERT_TAIL(&set->all, c, all);
	set->n++;
	if (!c->is_own)
		LOG_EVENT(LOG_DEBUG_, "publisher.connect",
		    LOG_INT("conn", c->number), LOG_INT("pid", c->peer_pid),
		    LOG_INT("uid", c->peer_uid));
	settle(c);
	keep_few(set, c);
	return ST_OK;
}

void
conn_kill(struct conn *c)
{
	struct conns *set = c->set;

	if (c->dead)
		return;
	c->dead = true;
	release(c);
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

bool
conns_resume(struct conns *set)
{
	size_t n = set->n_held;
	struct conn *c;

	/* Those that are held again go to the end: each has its turn. */
	while (n-- > 0 && (c = TAILQ_FIRST(&set->held)) != NULL) {
		release(c);
		if (may_take(c))
			offer(c);
		else
			hold(c);
		settle(c);
	}
	return !TAILQ_EMPTY(&set->peers.turns);
}

/* ---- when it gets too much ---------------------------------------------- */

/* Who has stood still longest with answers that it does not take. */
static struct conn *
find_stuck(const struct conns *set, uint64_t now_us)
{
	struct conn *c, *worst = NULL;

	TAILQ_FOREACH (c, &set->all, all)
		if (c->out.len > 0 && now_us - c->moved_us > STUCK_US &&
		    (worst == NULL || c->moved_us < worst->moved_us))
			worst = c;
	return worst;
}

/* All of them are looked through: not in every turn. */
static void
end_stuck(struct conns *set, uint64_t now_us)
{
	int budget = RELIEVE_PER_TURN;
	struct conn *c;

	if (set->out_bytes < OUT_TOTAL ||
	    now_us - set->relieved_us < RELIEVE_US)
		return;
	set->relieved_us = now_us;
	while (set->out_bytes >= OUT_TOTAL && budget-- > 0 &&
	    (c = find_stuck(set, now_us)) != NULL)
		conn_kill(c);
}

void
conns_relieve(struct conns *set, uint64_t now_us)
{
	make_room(set);
	end_stuck(set, now_us);
	end_idle(set, now_us);
}

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
		offer(c);
		settle(c);
	}
}

bool
conn_backlogged(const struct conn *c)
{
	return (c->events & EPOLLOUT) != 0;
}
