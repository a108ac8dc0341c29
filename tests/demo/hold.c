/* SPDX-License-Identifier: MIT */
/*
 * hold: keeps programs running, and their listening socket open meanwhile.
 *
 *	hold [-n COPIES] [-d DELAY_MS] [-l ADDRESS[,ADDRESS]] -f FILES
 *	    PROGRAM [ARGUMENT]...
 *
 * The socket is the holder's, so that clients who come while a program is
 * dead wait for the next one instead of being refused.  Programs get it as
 * systemd would hand it on (LISTEN_FDS, descriptor 3) and as descriptor 0.
 *
 * ADDRESS  a path, or an IPv4 address with a port; the second one is taken
 *          when the first is in use; port 0: the kernel chooses
 * FILES    FILES.pid: a line for each copy; FILES.addr: the address taken
 *
 * Each copy has a process group.  When one ends, what it left there is
 * killed and another is started DELAY_MS later.  TERM, or the end of the
 * process that started us: all are told to end, then killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COPIES_MAX 8
#define BACKLOG    4096
#define STOP_MS    4000
#define STEP_MS    20
#define LISTEN_FD  3 /* sd_listen_fds(3) */

static const char *files;
static char *const *command;
static char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static int copies = 1, delay_ms = 300, listener = -1;
static pid_t copy[COPIES_MAX]; /* 0: not running */
static long due_ms[COPIES_MAX];
static volatile sig_atomic_t stopping;

static void
fail(const char *what)
{
	(void)fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
on_stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static long
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Writes FILES.suffix as a whole or not at all. */
static void
put_file(const char *suffix, const char *text)
{
	char path[4096], fresh[4100];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s.%s", files, suffix);
	(void)snprintf(fresh, sizeof(fresh), "%s.new", path);
	f = fopen(fresh, "w");
	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ||
	    rename(fresh, path) < 0)
		fail(path);
}

static void
put_pids(void)
{
	char text[COPIES_MAX * 12] = "";
	size_t len = 0;
	int i;

	for (i = 0; i < copies; i++)
		if (copy[i] > 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
			    "%ld\n", (long)copy[i]);
	put_file("pid", text);
}

/* ---- the socket -------------------------------------------------------- */

static bool
listen_unix(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	size_t len = strlen(path) + 1;

	if (len > sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(sun.sun_path, path, len);
	memcpy(unix_path, path, len);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return listener >= 0 &&
	    bind(listener, (struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	    listen(listener, BACKLOG) == 0;
}

static bool
listen_tcp(const char *address)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);
	char host[64], text[80];
	const char *colon = strrchr(address, ':');
	int on = 1;

	if (colon == NULL || (size_t)(colon - address) >= sizeof(host)) {
		errno = EINVAL;
		return false;
	}
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	sin.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &sin.sin_addr) != 1) {
		errno = EINVAL;
		return false;
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) <
		0 ||
	    bind(listener, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    listen(listener, BACKLOG) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		return false;
	(void)snprintf(text, sizeof(text), "%s:%u\n", host,
	    (unsigned)ntohs(sin.sin_port));
	put_file("addr", text);
	return true;
}

static void
listen_on(char *addresses)
{
	char *next = strchr(addresses, ',');
	bool ok;

	if (next != NULL)
		*next++ = '\0';
	ok = strchr(addresses, '/') != NULL ? listen_unix(addresses)
					    : listen_tcp(addresses);
	if (ok)
		return;
	if (next == NULL || errno != EADDRINUSE)
		fail(addresses);
	(void)close(listener);
	listen_on(next);
}

/* ---- the programs ------------------------------------------------------ */

static void
become_copy(void)
{
	char pid[24];
	sigset_t none;

	(void)sigemptyset(&none);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (listener >= 0) {
		/* Both are without close-on-exec, unless it is 3 itself. */
		if (dup2(listener, STDIN_FILENO) < 0 ||
		    dup2(listener, LISTEN_FD) < 0 ||
		    (listener == LISTEN_FD && fcntl(LISTEN_FD, F_SETFD, 0) < 0))
			_exit(126);
		(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
		(void)setenv("LISTEN_PID", pid, 1);
		(void)setenv("LISTEN_FDS", "1", 1);
	}
	(void)execvp(command[0], command);
	(void)fprintf(stderr, "hold: %s: %s\n", command[0], strerror(errno));
	_exit(127);
}

static void
start_due(void)
{
	bool started = false;
	int i;

	for (i = 0; i < copies && !stopping; i++) {
		if (copy[i] != 0 || now_ms() < due_ms[i])
			continue;
		copy[i] = fork();
		if (copy[i] == 0)
			become_copy();
		if (copy[i] < 0) {
			copy[i] = 0;
			due_ms[i] = now_ms() + 1000;
			continue;
		}
		(void)setpgid(copy[i], copy[i]);
		started = true;
	}
	if (started)
		put_pids();
}

/* Orphans of the copies come to us, too.  False: there are no children. */
static bool
reap(void)
{
	bool ended = false;
	pid_t pid;
	int i;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (i = 0; i < copies; i++) {
			if (copy[i] != pid)
				continue;
			(void)kill(-pid, SIGKILL); /* what it left */
			copy[i] = 0;
			due_ms[i] = now_ms() + delay_ms;
			ended = true;
		}
	}
	if (ended)
		put_pids();
	return pid == 0;
}

static void
nap(void)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};

	(void)nanosleep(&step, NULL);
}

static void
tell(int sig)
{
	int i;

	for (i = 0; i < copies; i++)
		if (copy[i] > 0)
			(void)kill(sig == SIGKILL ? -copy[i] : copy[i], sig);
}

static void
end_all(void)
{
	long deadline = now_ms() + STOP_MS;

	tell(SIGTERM);
	while (reap()) {
		if (now_ms() > deadline)
			tell(SIGKILL);
		nap();
	}
	if (unix_path[0] != '\0')
		(void)unlink(unix_path);
}

static char *
options(int argc, char **argv)
{
	char *address = NULL;
	int c;

	while ((c = getopt(argc, argv, "+n:d:l:f:")) != -1) {
		if (c == 'n')
			copies = atoi(optarg);
		else if (c == 'd')
			delay_ms = atoi(optarg);
		else if (c == 'l')
			address = optarg;
		else if (c == 'f')
			files = optarg;
		else
			exit(64);
	}
	if (files == NULL || optind == argc || copies < 1 ||
	    copies > COPIES_MAX) {
		(void)fputs("usage: hold [-n COPIES] [-d MS] [-l ADDRESS] -f "
			    "FILES PROGRAM ...\n",
		    stderr);
		exit(64);
	}
	command = argv + optind;
	return address;
}

int
main(int argc, char **argv)
{
	struct sigaction stop = {.sa_handler = on_stop};
	pid_t parent = getppid();
	char *address = options(argc, argv);

	(void)signal(SIGINT, SIG_IGN); /* the script decides */
	(void)signal(SIGQUIT, SIG_IGN);
	(void)sigaction(SIGTERM, &stop, NULL);
	(void)sigaction(SIGHUP, &stop, NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		return 0;
	if (address != NULL)
		listen_on(address);
	while (!stopping) {
		start_due();
		nap();
		(void)reap();
	}
	end_all();
	return 0;
}
