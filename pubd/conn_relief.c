/* SPDX-License-Identifier: MIT */
/*
 * Which connections to close when something runs short: room for unfinished
 * lines, room for answers, descriptors, or time.  Invariant: the user who takes
 * most loses a connection, and nobody loses one for what another user does
 * (peers.h chooses).  Never blocks.
 */
#include "conn_private.h"

#define PARTIAL_TOTAL    ((size_t)8 * 1024 * 1024) /* unfinished lines */
#define STUCK_US         10000000
#define RELIEVE_US       100000
#define RELIEVE_PER_TURN 8
#define IDLE_PER_TURN    64

/* One line of the greatest length must always fit. */
static bool
in_over(const struct conns *set)
{
	return set->peers.partial_bytes >= PARTIAL_TOTAL + set->max_line_bytes;
}

static struct conn *
at_place(struct peer_place *at)
{
	return at == NULL ? NULL : OWNER_OF(at, struct conn, place);
}

/* ---- closing one -------------------------------------------------------- */

static void
tell_spared(struct conn *c, enum conn_spared why)
{
	static const char *const reason[CONN_N_SPARED] = {
#define X(member, words) [CONN_##member] = (words),
	    CONN_SPARED(X)
#undef X
	};
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
 * Closes it, and tells it why if its socket takes that at once.  One that is
 * still owed answers stays, and loses only its line.
 */
static void
spare(struct conn *c, enum conn_spared why)
{
	struct conns *set = c->set;
	const struct codec_piece unfinished = {.n_bytes = c->in.len};
	enum status st = ST_OK;

	if (c->n_waiting > 0 && why != CONN_FDS) {
		if (conn_refuse(c, ST_BUSY, &unfinished)) {
			conn_settle(c);
			return;
		}
	} else if (why == CONN_ROOM) {
		st = set->refuse(set->arg, c, ST_BUSY);
		if (st == ST_OK)
			conn_write_out(c);
	}
	tell_spared(c, why);
	conn_kill(c);
}

/* ---- unfinished lines, descriptors, silence ------------------------------ */

void
conns_make_room(struct conns *set)
{
	struct conn *c;

	while (in_over(set) &&
	    (c = at_place(peers_unfinished(&set->peers))) != NULL)
		spare(c, CONN_ROOM);
}

void
conns_keep_few(struct conns *set, struct conn *newest)
{
	if (set->max_conns == 0 || set->n <= set->max_conns || newest->dead)
		return;
	spare(at_place(peers_spare(&set->peers, &newest->place,
		  loop_now_us(set->loop))),
	    CONN_FDS);
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

/* ---- answers that nobody takes ------------------------------------------ */

/* The connection that has left its answers untaken for longest. */
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

	if (set->out_bytes < CONN_OUT_TOTAL ||
	    now_us - set->relieved_us < RELIEVE_US)
		return;
	set->relieved_us = now_us;
	while (set->out_bytes >= CONN_OUT_TOTAL && budget-- > 0 &&
	    (c = find_stuck(set, now_us)) != NULL)
		conn_kill(c);
}

void
conns_relieve(struct conns *set, uint64_t now_us)
{
	conns_make_room(set);
	end_stuck(set, now_us);
	end_idle(set, now_us);
}
