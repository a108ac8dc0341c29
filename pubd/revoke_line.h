/* SPDX-License-Identifier: MIT */
/*
 * The line that revokes, of walcast-protocol(7):
 *
 *   {"op":"revoke","user":NAME}       {"ok":true,"id":N}
 *   {"op":"revoke","token":JTI,"until":UNIX_SECONDS}
 *   {"op":"revoke","stream":ID}
 *
 * Pure.
 */
#ifndef WALCAST_REVOKE_LINE_H
#define WALCAST_REVOKE_LINE_H

#include "revocation.h"
#include "span.h"
#include "status.h"
#include "value.h"

/*
 * Reads a line that is checked JSON, an object with the op `revoke`.
 *
 * out      at_ms is not known yet; the value is in memory of v, or in the line
 * Returns  ST_OK, ST_NOMEM, ST_INVALID: err says what is wrong
 */
MUST_USE enum status revoke_line_read(struct values *v, struct span line,
    struct revocation *out, struct errmsg *err);

#endif
