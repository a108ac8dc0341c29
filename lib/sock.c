/* SPDX-License-Identifier: MIT */
/* Sockets.  Nothing here waits. */
#include "sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */

static enum status
unix_address(struct sockaddr_un *sun, const char *path, struct errmsg *err)
{
	size_t n = strlen(path);

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof(sun->sun_path)) {
		errmsg_set(err,
		    "socket path %.60s... is %zu bytes long; the system allows "
		    "%zu: choose a shorter one",
		    path, n, sizeof(sun->sun_path) - 1);
		return ST_INVALID;
	}
	memcpy(sun->sun_path, path, n + 1);
	return ST_OK;
}

static int
new_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static enum status
unix_socket(int *s, struct errmsg *err)
{
	*s = new_socket(AF_UNIX);
	if (*s >= 0)
		return ST_OK;
	errmsg_set(err, "cannot make a socket: %s", strerror(errno));
	return ST_IO;
}

/* Is anybody listening at the address?  A full queue means yes. */
static bool
answers(const struct sockaddr_un *sun)
{
	int fd = new_socket(AF_UNIX);
	bool alive;

	if (fd < 0)
		return true; /* cannot tell: touch nothing */
	alive = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
	    (errno != ECONNREFUSED && errno != ENOENT);
	(void)close(fd);
	return alive;
}

/* Removes a socket that nobody listens on. */
static enum status
clear_path(const struct sockaddr_un *sun, struct errmsg *err)
{
	struct stat sb;

	if (lstat(sun->sun_path, &sb) < 0) {
		if (errno == ENOENT)
			return ST_OK;
		errmsg_set(err, "cannot look at %s: %s", sun->sun_path,
		    strerror(errno));
		return errno == EACCES ? ST_DENIED : ST_IO;
	}
	if (!S_ISSOCK(sb.st_mode)) {
		errmsg_set(err,
		    "%s exists and is no socket: remove it or choose another "
		    "path",
		    sun->sun_path);
		return ST_INVALID;
	}
	if (answers(sun)) {
		errmsg_set(err,
		    "somebody is listening on %s already: stop that process "
		    "first, or choose another path",
		    sun->sun_path);
		return ST_EXISTS;
	}
	(void)unlink(sun->sun_path);
	return ST_OK;
}

enum status
sock_listen_unix(const char *path, unsigned mode, int *fd, struct errmsg *err)
{
	struct sockaddr_un sun;
	enum status st = unix_address(&sun, path, err);
	mode_t old;
	int s, rc;

	if (st == ST_OK)
		st = clear_path(&sun, err);
	if (st == ST_OK)
		st = unix_socket(&s, err);
	if (st != ST_OK)
		return st;
	old = umask(0777 & ~mode);
	rc = bind(s, (struct sockaddr *)&sun, sizeof(sun));
	(void)umask(old);
	if (rc == 0 && listen(s, BACKLOG) == 0) {
		*fd = s;
		return ST_OK;
	}
	errmsg_set(err,
	    "cannot listen on %s: %s: check that its directory is there and "
	    "that this user may write to it",
	    path, strerror(errno));
	st = errno == EACCES ? ST_DENIED : ST_IO;
	(void)close(s);
	return st;
}

/* Splits HOST:PORT, [V6]:PORT or :PORT; host is "" for any address. */
static enum status
split_host_port(const char *address, char host[256], const char **port)
{
	const char *colon = strrchr(address, ':');
	int64_t number;
	size_t n;

	if (colon == NULL || colon[1] == '\0')
		return ST_INVALID;
	n = (size_t)(colon - address);
	*port = colon + 1;
	/* getaddrinfo would cut the number to 16 bits. */
	if (!span_to_int64(span_str(*port), &number) || number > 65535)
		return ST_INVALID;
	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	}
	if (n >= 256)
		return ST_INVALID;
	memcpy(host, address, n);
	host[n] = '\0';
	return ST_OK;
}

static int
bind_tcp(const struct addrinfo *ai)
{
	int s = new_socket(ai->ai_family), on = 1;

	if (s < 0)
		return -1;
	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, ai->ai_addr, ai->ai_addrlen) == 0 &&
	    listen(s, BACKLOG) == 0)
		return s;
	(void)close(s);
	return -1;
}

static enum status
listen_tcp(const char *address, int *fd, struct errmsg *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char host[256];
	const char *port;

	if (split_host_port(address, host, &port) != ST_OK ||
	    getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &list) !=
		0) {
		errmsg_set(err,
		    "cannot listen on \"%s\": give a path with a slash, or a "
		    "numeric address and port such as 127.0.0.1:9000",
		    address);
		return ST_INVALID;
	}
	*fd = bind_tcp(list);
	if (*fd < 0)
		errmsg_set(err, "cannot listen on %s: %s", address,
		    strerror(errno));
	freeaddrinfo(list);
	return *fd < 0 ? ST_IO : ST_OK;
}

enum status
sock_listen(const char *address, unsigned mode, int *fd, struct errmsg *err)
{
	if (strchr(address, '/') != NULL)
		return sock_listen_unix(address, mode, fd, err);
	return listen_tcp(address, fd, err);
}

static enum status
connect_failure(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return ST_NOTFOUND;
	case EAGAIN:
		return ST_BUSY;
	case EACCES:
	case EPERM:
		return ST_DENIED;
	default:
		return ST_IO;
	}
}

enum status
sock_connect_unix(const char *path, int *fd, struct errmsg *err)
{
	struct sockaddr_un sun;
	enum status st = unix_address(&sun, path, err);
	int s;

	if (st == ST_OK)
		st = unix_socket(&s, err);
	if (st != ST_OK)
		return st;
	if (connect(s, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		*fd = s;
		return ST_OK;
	}
	st = connect_failure(errno);
	errmsg_set(err, "cannot reach %s: %s%s", path, strerror(errno),
	    st == ST_NOTFOUND     ? ": is pubd running?"
		: st == ST_DENIED ? ": this user must be in the socket's group"
				  : "");
	(void)close(s);
	return st;
}

enum status
sock_accept(int listener, int *fd)
{
	int s, on = 1;

	do
		s = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (s < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (s >= 0) {
		/* Fails on Unix sockets, which have no such delay. */
		(void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		*fd = s;
		return ST_OK;
	}
	switch (errno) {
	case EAGAIN:
		return ST_AGAIN;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return ST_FULL;
	default:
		return ST_IO;
	}
}

enum status
sock_read(int fd, char *p, size_t cap, size_t *n)
{
	ssize_t got;

	do
		got = read(fd, p, cap);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		*n = (size_t)got;
		return ST_OK;
	}
	if (got == 0)
		return ST_END;
	return errno == EAGAIN ? ST_AGAIN : ST_IO;
}

enum status
sock_write(int fd, struct span s, size_t *n)
{
	ssize_t put;

	do
		put = send(fd, s.p, s.len, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put >= 0) {
		*n = (size_t)put;
		return ST_OK;
	}
	if (errno == EAGAIN)
		return ST_AGAIN;
	return errno == EPIPE || errno == ECONNRESET ? ST_END : ST_IO;
}

unsigned long
sock_raise_fd_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return 0;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		(void)getrlimit(RLIMIT_NOFILE, &rl);
	return (unsigned long)rl.rlim_cur;
}
