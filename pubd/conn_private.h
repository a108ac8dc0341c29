/* SPDX-License-Identifier: MIT */
/*
 * What the three files of connections share, and nobody else includes: conn.c
 * moves bytes between sockets and buffers, conn_turns.c takes requests out of
 * them in fair turns, conn_relief.c decides whom to close when something runs
 * short.
 */
#ifndef WALCAST_CONN_PRIVATE_H
#define WALCAST_CONN_PRIVATE_H

#include "codec.h"
#include "conn.h"

#define CONN_OUT_HIGH   ((size_t)256 * 1024)       /* answers owed to one */
#define CONN_OUT_TOTAL  ((size_t)16 * 1024 * 1024) /* and to all */
#define CONN_KEEP_BYTES 0 /* an idle connection has no buffers */
#define CONNS_READ_TURN ((size_t)1024 * 1024) /* then 4 KiB each */

/* ---- conn.c ------------------------------------------------------------- */

/* Called whenever something of the connection has changed. */
void conn_settle(struct conn *c);

/* Writes what its socket takes. */
void conn_write_out(struct conn *c);

/* ---- conn_turns.c ------------------------------------------------------- */

/* Something has come in, or its end: a whole line waits for its turn. */
void conn_offer(struct conn *c);

/* It is no longer held back. */
void conn_release(struct conn *c);

/*
 * Answers for a line that is not taken, and drops its piece; when it has no
 * end yet the rest is skipped.  False: the answer has no room now.
 */
bool conn_refuse(struct conn *c, enum status why,
    const struct codec_piece *piece);

/* ---- conn_relief.c ------------------------------------------------------ */

/* Unfinished lines are not more than their bound. */
void conns_make_room(struct conns *set);

/* One more than there are descriptors for: one goes. */
void conns_keep_few(struct conns *set, struct conn *newest);

#endif
