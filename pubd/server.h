/* SPDX-License-Identifier: MIT */
/*
 * The daemon: a socket that takes events, a log that keeps them.  One
 * thread, one loop; the order of a turn (server.c) is the durability
 * contract.
 */
#ifndef WALCAST_SERVER_H
#define WALCAST_SERVER_H

#include "conf.h"
#include "status.h"

struct server;

/*
 * Opens the log and listens.
 *
 * conf       copied
 * conf_path  what -c named, or NULL; read again on HUP
 * Returns    ST_OK, or why not; err is a sentence for people
 */
MUST_USE enum status server_new(struct server **out, const struct conf *conf,
    const char *conf_path, struct errmsg *err);
void server_free(struct server **s);

/* Runs until TERM or INT.  Returns ST_OK, or ST_IO when the loop broke. */
MUST_USE enum status server_run(struct server *s);

#endif
