/* SPDX-License-Identifier: MIT */
/*
 * base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strict:
 * each byte sequence has exactly one text.  Pure.
 */
#ifndef WALCAST_BASE64URL_H
#define WALCAST_BASE64URL_H

#include "buf.h"
#include "span.h"
#include "status.h"

/* Appends the bytes.  ST_OK, ST_INVALID (it is no such text), ST_FULL, ST_NOMEM
 */
MUST_USE enum status base64url_decode(struct buf *out, struct span text);

#endif
