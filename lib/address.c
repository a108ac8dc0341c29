/* SPDX-License-Identifier: MIT */
#include "address.h"

#include <arpa/inet.h>
#include <string.h>

/*
 * The /64 0:0:0:ffff:: as a number.  It is reserved (RFC 4291), so no IPv6
 * client has it, and IPv4 addresses are numbered within it.
 */
#define V4_RANGE (UINT64_C(0xffff) << 32)

static uint64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

uint64_t
address_key(struct span address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	char text[INET6_ADDRSTRLEN];
	const char *zone = span_find(address, '%');
	size_t len = zone == NULL ? address.len : (size_t)(zone - address.p);
	unsigned char b[16];

	if (len >= sizeof(text))
		return 0;
	if (len > 0)
		memcpy(text, address.p, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, b) == 1)
		return V4_RANGE | big_endian(b, 4);
	if (inet_pton(AF_INET6, text, b) != 1)
		return 0;
	if (memcmp(b, mapped, sizeof(mapped)) == 0)
		return V4_RANGE | big_endian(b + sizeof(mapped), 4);
	return big_endian(b, 8);
}
