/* SPDX-License-Identifier: MIT */
/* The web server in front of a worker, by SERVER_SOFTWARE (RFC 3875, 4.1.17).
 */
#ifndef WALCAST_FRONTEND_H
#define WALCAST_FRONTEND_H

#include "span.h"

/*
 * X(MEMBER, word in logs and metrics).  One list for the enum, the words, and
 * the cells of the metrics (worker_metrics): a member added here without its
 * cells does not compile, and none can be taken for another.
 */
#define FRONTENDS(X)                                                           \
	X(APACHE, "apache")                                                    \
	X(LIGHTTPD, "lighttpd")                                                \
	X(NGINX, "nginx")                                                      \
	X(CGI, "cgi") /* whichever it is: a process for each stream */         \
	X(OTHER, "other")

enum front {
#define X(member, word) FRONT_##member,
	FRONTENDS(X)
#undef X
	    FRONTS
};

const char *frontend_name(enum front f);

/* Which one calls itself so; never FRONT_CGI. */
enum front frontend_of(struct span software);

#endif
