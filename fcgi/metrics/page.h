/* SPDX-License-Identifier: MIT */
/*
 * The status page: one document, built from fcgi/metrics/page/, that fetches
 * only metrics, and only from where it came.  Pure.
 */
#ifndef WALCAST_PAGE_H
#define WALCAST_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

/*
 * A whole response, head and document.
 *
 * nonce    new random bits for each response: the only script and the only
 *          style that the browser will run are those that bear it
 * Returns  ST_OK, ST_NOMEM or ST_FULL; then `out` is unchanged
 */
MUST_USE enum status page_put(struct buf *out, const uint64_t nonce[2],
    bool head_only);

#endif
