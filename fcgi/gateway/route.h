/* SPDX-License-Identifier: MIT */
/*
 * What a web server says about path and query, in the ways in which they
 * differ: PATH_INFO where the server splits the path, REQUEST_URI where it
 * does not (mod_proxy_fcgi with ProxyPass).  Pure.
 */
#ifndef WALCAST_ROUTE_H
#define WALCAST_ROUTE_H

#include "buf.h"
#include "params.h"
#include "span.h"
#include "status.h"

/*
 * What stands in the path behind the program's own name, decoded and without
 * the slash between; empty when nothing does.
 *
 * text     room for decoded bytes, reserved by route_room(): see query.h
 * program  the segment that is the program's name, such as "sse.fcgi"
 *
 * Returns  ST_OK
 *          ST_INVALID  *info is the path from the broken escape on
 */
MUST_USE enum status route_path(struct buf *text, const struct params *p,
    struct span program, struct span *info);

/* The query, still encoded; SPAN_NONE when there is none. */
struct span route_query(const struct params *p);

/* How many bytes decoding a request's path and query can take at most. */
size_t route_room(const struct params *p);

#endif
