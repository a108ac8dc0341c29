/* SPDX-License-Identifier: MIT */
/*
 * uthash, set up as all tables here need it: hashes are keyed with a secret of
 * this process, so that nobody who chooses names can make a table slow; and
 * when memory runs out, `hh.tbl` of the object that was to be added is NULL.
 *
 * The only header that includes uthash.h.
 */
#ifndef WALCAST_HASHTABLE_H
#define WALCAST_HASHTABLE_H

#include <stddef.h>
#include <stdint.h>

/* SipHash under a random key of this process.  One thread. */
uint64_t hashtable_hash(const void *p, size_t n);

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(p, n, out)                                               \
	((out) = (unsigned)hashtable_hash((p), (size_t)(n)))
#include <uthash.h>

#endif
