/* SPDX-License-Identifier: MIT */
/*
 * An event, as the log stores it and as all parts pass it on, and what its
 * fields tell about it.  Pure.
 */
#ifndef WALCAST_EVENT_H
#define WALCAST_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

/* What the data of an event is; decides how an envelope carries it. */
enum event_data {
	EVENT_DATA_TEXT,   /* a string */
	EVENT_DATA_JSON,   /* a JSON value, compact */
	EVENT_DATA_UNKNOWN /* inserted by SQL, which does not say */
};

struct event {
	int64_t id;
	int64_t ts_ms; /* Unix time at which it was accepted */
	int64_t prev;  /* the id before it on its channel; 0: none retained */
	struct span channel;
	struct span event; /* "message" when none was given */
	struct span key;   /* SPAN_NONE when it has none */
	struct span trace; /* SPAN_NONE when it has none */
	enum event_data kind;
	struct span data;
};

/*
 * Is its data to be shown as a JSON value?  Data of unknown kind is when it is
 * an object or an array; data marked as JSON that is not valid JSON is not.
 */
bool event_is_json(const struct event *e);

#endif
