/* SPDX-License-Identifier: MIT */
/* What can be told of an event by looking at it.  Pure. */
#ifndef WALCAST_EVENT_H
#define WALCAST_EVENT_H

#include <stdbool.h>

#include "store.h"

/*
 * Is its data to be shown as a JSON value?  Where nobody said what it is,
 * objects and arrays are; what was marked as JSON without being it is not.
 */
bool event_is_json(const struct store_event *e);

#endif
