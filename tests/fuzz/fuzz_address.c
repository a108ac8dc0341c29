/* SPDX-License-Identifier: MIT */
/* Any text has a number; a zone behind it does not change it. */
#include "address.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span s = fuzz_span(data, size);
	uint64_t key = address_key(s);
	char zoned[128];

	if (size + 2 > sizeof(zoned) || span_find(s, '%') != NULL ||
	    span_find(s, '\0') != NULL)
		return 0;
	memcpy(zoned, data, size);
	zoned[size] = '%';
	MUST(address_key(span_of(zoned, size + 1)) == key);
	return 0;
}
