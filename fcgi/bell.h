/* SPDX-License-Identifier: MIT */
/*
 * The watch connection to pubd: it rings after commits, and takes reports of
 * what this process does.  Only a hint: without it the tail polls.
 */
#ifndef WALCAST_BELL_H
#define WALCAST_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "span.h"
#include "status.h"

struct bell;

/*
 * socket  path of pubd's socket; must outlive the bell
 * ring    called when pubd says that the log's head is `head`
 */
MUST_USE enum status bell_new(struct bell **out, struct loop *l,
    const char *socket, void (*ring)(void *arg, int64_t head), void *arg);
void bell_free(struct bell **b);

bool bell_connected(const struct bell *b);

/* Sends one line (without its newline), or drops it when pubd is not there. */
void bell_report(struct bell *b, struct span line);

#endif
