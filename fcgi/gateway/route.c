/* SPDX-License-Identifier: MIT */
/* Path and query from CGI variables.  Pure. */
#include "route.h"

#include "query.h"

/* REQUEST_URI may be a whole URL: its segments are looked at all the same. */
static enum status
path_of_uri(struct buf *text, struct span uri, struct span program,
    struct span *info)
{
	struct span raw, rest, segment;
	size_t at;

	*info = SPAN_NONE;
	if (!span_cut(&uri, '?', &raw))
		return ST_OK;
	if (query_decode(text, raw, QUERY_PLUS_STAYS, &rest, &at) != ST_OK) {
		*info = span_skip(raw, at);
		return ST_INVALID;
	}
	while (span_cut(&rest, '/', &segment)) {
		if (span_eq(segment, program)) {
			*info = rest;
			return ST_OK;
		}
	}
	return ST_OK;
}

enum status
route_path(struct buf *text, const struct params *p, struct span program,
    struct span *info)
{
	struct span path = params_get(p, "PATH_INFO");

	if (path.len == 0)
		return path_of_uri(text, params_get(p, "REQUEST_URI"), program,
		    info);
	*info = path.p[0] == '/' ? span_skip(path, 1) : path;
	return ST_OK;
}

struct span
route_query(const struct params *p)
{
	struct span query = params_get(p, "QUERY_STRING"), path;

	if (query.p != NULL)
		return query;
	query = params_get(p, "REQUEST_URI");
	if (!span_cut(&query, '?', &path))
		return SPAN_NONE;
	return query;
}

size_t
route_room(const struct params *p)
{
	/* The query may have to be taken from the URI too. */
	return params_get(p, "QUERY_STRING").len +
	    2 * params_get(p, "REQUEST_URI").len;
}
