/* SPDX-License-Identifier: MIT */
/* What plain CGI (RFC 3875) needs and FastCGI does not. */
#ifndef WALCAST_CGI_H
#define WALCAST_CGI_H

#include "params.h"

/*
 * Before main looks at its arguments: how many of `argc` may be believed.
 * For a CGI request a web server makes them out of the query (RFC 3875
 * section 4.4), so they are the visitor's, and only the name is left.  A
 * wrapper that wants to say something then says it in the environment.
 */
int cgi_arguments(int argc);

/*
 * Takes the variables out of the environment and reads the request's body
 * (CONTENT_LENGTH bytes of fd 0), a bounded part of it and for a bounded time;
 * params keep what they were told to.  It is read even if nobody wants it:
 * where input and output are one socket (mod_cgid), closing it with input
 * unread would reset it, and the answer would be lost.
 *
 * Returns  ST_OK, ST_NOMEM
 */
MUST_USE enum status cgi_read(struct params *params);

#endif
