/* SPDX-License-Identifier: MIT */
/* The application's socket. */
#include "app_socket.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static enum status
malformed(struct errmsg *err)
{
	errmsg_set(err,
	    "authorizer: write fcgi:SOCKET:SCRIPT, such as "
	    "fcgi:/run/php/php-fpm.sock:/var/www/authorize.php or "
	    "fcgi:127.0.0.1:9000:/var/www/authorize.php; other protocols are "
	    "not spoken");
	return ST_INVALID;
}

static enum status
parse_unix(struct app_socket *out, struct span path, struct errmsg *err)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)(void *)&out->address;

	if (path.len >= sizeof(sun->sun_path)) {
		errmsg_set(err,
		    "authorizer: the path of the socket is longer than %zu "
		    "bytes",
		    sizeof(sun->sun_path) - 1);
		return ST_INVALID;
	}
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path.p, path.len);
	sun->sun_path[path.len] = '\0';
	out->len = (socklen_t)sizeof(*sun);
	return ST_OK;
}

/* Nothing is looked up, since that could block. */
static enum status
parse_inet(struct app_socket *out, struct span host, struct span port,
    struct errmsg *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char h[64], p[8];

	if (host.len > 1 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = span_of(host.p + 1, host.len - 2);
	if (host.len == 0 || host.len >= sizeof(h) || port.len == 0 ||
	    port.len >= sizeof(p))
		return malformed(err);
	memcpy(h, host.p, host.len);
	h[host.len] = '\0';
	memcpy(p, port.p, port.len);
	p[port.len] = '\0';
	if (getaddrinfo(h, p, &hints, &found) != 0)
		return malformed(err);
	memcpy(&out->address, found->ai_addr, found->ai_addrlen);
	out->len = found->ai_addrlen;
	freeaddrinfo(found);
	return ST_OK;
}

/* The last ":/" parts the socket from the script. */
static const char *
find_script(struct span s)
{
	const char *found = NULL;
	size_t i;

	for (i = 1; i + 1 < s.len; i++)
		if (s.p[i] == ':' && s.p[i + 1] == '/')
			found = s.p + i;
	return found;
}

enum status
app_socket_parse(struct app_socket *out, struct span value, struct errmsg *err)
{
	struct span rest, script;
	const char *at, *colon;

	memset(out, 0, sizeof(*out));
	if (!span_starts(value, SPAN("fcgi:")))
		return malformed(err);
	rest = span_skip(value, 5);
	at = find_script(rest);
	if (at == NULL)
		return malformed(err);
	script = span_skip(rest, (size_t)(at - rest.p) + 1);
	rest.len = (size_t)(at - rest.p);
	if (script.len >= sizeof(out->script))
		return malformed(err);
	memcpy(out->script, script.p, script.len);
	out->script[script.len] = '\0';
	if (rest.p[0] == '/')
		return parse_unix(out, rest, err);
	colon = memrchr(rest.p, ':', rest.len);
	if (colon == NULL)
		return malformed(err);
	return parse_inet(out, span_of(rest.p, (size_t)(colon - rest.p)),
	    span_of(colon + 1, rest.len - (size_t)(colon - rest.p) - 1), err);
}

enum status
app_socket_connect(const struct app_socket *s, int *fd)
{
	int one = socket(s->address.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (one < 0)
		return ST_IO;
	if (connect(one, (const struct sockaddr *)&s->address, s->len) == 0 ||
	    errno == EINPROGRESS) {
		*fd = one;
		return ST_OK;
	}
	/* A Unix socket whose queue is full says EAGAIN. */
	if (errno == EAGAIN) {
		(void)close(one);
		return ST_AGAIN;
	}
	(void)close(one);
	return ST_IO;
}
