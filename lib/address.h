/* SPDX-License-Identifier: MIT */
/*
 * Client addresses as those who count them see them: what one visitor can
 * choose freely is one.  Pure.
 */
#ifndef WALCAST_ADDRESS_H
#define WALCAST_ADDRESS_H

#include <stdint.h>

#include "span.h"

/*
 * IPv4 whole; of IPv6 the /64, since that is what a subscriber is given (RFC
 * 6177).  An IPv4 address inside of IPv6 (::ffff:a.b.c.d) is the same as
 * itself.  A zone ("%eth0") does not count.
 *
 * Returns  the same number for addresses that count as one; what is no
 *          address shares 0 with ::/64
 */
uint64_t address_key(struct span text);

#endif
