/* SPDX-License-Identifier: MIT */
/*
 * Client addresses for whoever counts by address: all addresses that one
 * visitor can choose between count as one.  Pure.
 */
#ifndef WALCAST_ADDRESS_H
#define WALCAST_ADDRESS_H

#include <stdint.h>

#include "span.h"

/*
 * All of an IPv4 address; the /64 of an IPv6 one, since that is what a
 * subscriber is given (RFC 6177).  An IPv4 address written as IPv6
 * (::ffff:a.b.c.d) counts as the IPv4 address.  A zone ("%eth0") is ignored.
 *
 * Returns  the same number for addresses that count as one; what is no
 *          address shares 0 with ::/64
 */
uint64_t address_key(struct span text);

#endif
