/* SPDX-License-Identifier: MIT */
/* The service manager's notification socket (sd_notify(3)). */
#ifndef WALCAST_NOTIFY_H
#define WALCAST_NOTIFY_H

#include <stdint.h>

/*
 * Sends a state such as "READY=1" to $NOTIFY_SOCKET; nothing when that is
 * not set.  Never waits.
 */
void notify_send(const char *state);

/* Half of $WATCHDOG_USEC, if it is meant for this process; 0: no watchdog. */
uint64_t notify_watchdog_us(void);

#endif
