/* SPDX-License-Identifier: MIT */
/* An event of the log as `walcast tail` shows it.  Pure. */
#ifndef WALCAST_CLI_EVENT_H
#define WALCAST_CLI_EVENT_H

#include "buf.h"
#include "status.h"
#include "store.h"

/* A line for people: id, time, channel, event, data. */
MUST_USE enum status cli_event_text(struct buf *out, const struct event *e);

/* One JSON object and a newline; data as an envelope carries it. */
MUST_USE enum status cli_event_json(struct buf *out, const struct event *e);

#endif
