/* SPDX-License-Identifier: MIT */
/*
 * Takes requests out of the bytes of connections, a bounded amount of work in
 * each turn of the loop.  Users take turns, and so do the connections of each
 * (peers.h).  A line here is a unit of the connection's codec.
 *
 * Invariant: a connection whose `in` begins with a whole line is queued for
 * its turn or held back; one whose line has no end yet is neither, and its
 * bytes are counted as unfinished.  Does no I/O.
 */
#include "conn_private.h"

#define COST_PER_TURN 2048
#define LONG_BYTES    ((size_t)64 * 1024) /* a line worth a turn */
#define MAX_WAITING   4096                /* requests of one in a batch */
#define FIT_BYTES     ((size_t)16 * 1024) /* more of a line may grow */

/* ---- who may go on ------------------------------------------------------ */

/* May another line of this connection become a request now? */
static bool
may_take(const struct conn *c)
{
	if (c->dead || c->n_waiting >= MAX_WAITING ||
	    c->out.len >= CONN_OUT_HIGH || c->full_round == c->set->round)
		return false;
	/* All together over the bound: one at a time for each. */
	return c->set->out_bytes < CONN_OUT_TOTAL ||
	    (c->n_waiting == 0 && c->out.len == 0);
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

void
conn_release(struct conn *c)
{
	if (!c->is_held)
		return;
	c->is_held = false;
	c->set->n_held--;
	TAILQ_REMOVE(&c->set->held, c, held);
}

/* ---- lines in `in` ------------------------------------------------------ */

/* What `in` begins with has an end now, or is gone. */
static void
no_partial(struct conn *c)
{
	peers_partial(&c->set->peers, &c->place, 0, 0);
}

/* All of `in` is an unfinished line: keep no more memory than it needs. */
static void
note_partial(struct conn *c)
{
	peers_partial(&c->set->peers, &c->place, c->in.len,
	    loop_now_us(c->set->loop));
	if (c->in.len <= FIT_BYTES)
		buf_fit(&c->in);
}

static enum codec_input
input_of(const struct conn *c)
{
	if (!c->eof)
		return CODEC_OPEN;
	return c->set->stopping ? CODEC_CUT : CODEC_ENDED;
}

/* What `in` begins with; true: a whole line, or the rest of one. */
static bool
next_piece(struct conn *c, struct codec_piece *piece)
{
	c->codec->next(&c->framing, buf_span(&c->in), input_of(c),
	    c->set->max_line_bytes, piece);
	if (piece->ended)
		no_partial(c);
	return piece->ended;
}

static void
drop_piece(struct conn *c, const struct codec_piece *piece)
{
	buf_consume(&c->in, piece->n_bytes);
	c->set->in_bytes -= piece->n_bytes;
	c->codec->dropped(&c->framing, piece);
	no_partial(c);
	if (c->in.len == 0)
		buf_shrink(&c->in, CONN_KEEP_BYTES);
}

bool
conn_refuse(struct conn *c, enum status why, const struct codec_piece *piece)
{
	enum status st = c->set->refuse(c->set->arg, c, why);

	if (st == ST_FULL)
		return false;
	if (st != ST_OK)
		conn_kill(c);
	else
		drop_piece(c, piece);
	return true;
}

/* The part of a line that has no end yet: bounded, or being skipped. */
static void
check_partial(struct conn *c, const struct codec_piece *piece)
{
	switch (piece->kind) {
	case CODEC_SKIPPED:
		drop_piece(c, piece);
		break;
	case CODEC_LONG:
		if (!conn_refuse(c, ST_TOOLARGE, piece))
			hold(c);
		break;
	case CODEC_UNIT:
		note_partial(c);
		break;
	}
}

/* One whole line; false: it stays in `in`. */
static bool
take_piece(struct conn *c, const struct codec_piece *piece)
{
	enum status st;

	if (piece->kind == CODEC_SKIPPED) {
		drop_piece(c, piece);
		return true;
	}
	if (!may_take(c))
		return false;
	if (piece->kind == CODEC_LONG)
		return conn_refuse(c, ST_TOOLARGE, piece);
	st = c->set->line(c->set->arg, c, piece->text);
	if (st == ST_FULL) {
		c->full_round = c->set->round;
		return false;
	}
	if (st != ST_OK)
		conn_kill(c);
	if (!c->dead)
		drop_piece(c, piece);
	return true;
}

void
conn_offer(struct conn *c)
{
	struct codec_piece piece;

	if (c->dead)
		return;
	if (next_piece(c, &piece))
		peers_queue(&c->set->peers, &c->place);
	else
		check_partial(c, &piece);
}

/* ---- turns -------------------------------------------------------------- */

/* No whole line is left: it is read on. */
static void
end_turn(struct conn *c, const struct codec_piece *partial)
{
	peers_unqueue(&c->set->peers, &c->place);
	check_partial(c, partial);
	conn_settle(c);
}

/* Its next line can not be taken now. */
static void
hold_turn(struct conn *c)
{
	peers_unqueue(&c->set->peers, &c->place);
	hold(c);
	conn_settle(c);
}

/*
 * Would a line of n bytes delay for long the answers to lines already taken in
 * this turn?  Then those are answered first; once only, or this line would
 * never be taken.
 */
static bool
puts_off(struct conns *set, size_t n)
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
	struct codec_piece piece;
	bool taken;

	while (!c->dead && c->place.credit > 0) {
		if (!next_piece(c, &piece)) {
			end_turn(c, &piece);
			return;
		}
		if (puts_off(set, piece.n_bytes))
			break;
		set->cost = 1;
		taken = take_piece(c, &piece);
		set->turn_left -= set->cost;
		if (!taken) {
			hold_turn(c);
			return;
		}
		peers_charge(&c->place, set->cost);
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
	set->read_left = CONNS_READ_TURN;
}

bool
conns_resume(struct conns *set)
{
	size_t n = set->n_held;
	struct conn *c;

	/* Those that are held again go to the end: each has its turn. */
	while (n-- > 0 && (c = TAILQ_FIRST(&set->held)) != NULL) {
		conn_release(c);
		if (may_take(c))
			conn_offer(c);
		else
			hold(c);
		conn_settle(c);
	}
	return !TAILQ_EMPTY(&set->peers.turns);
}
