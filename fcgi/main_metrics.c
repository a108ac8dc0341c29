/* SPDX-License-Identifier: MIT */
/*
 * sse-metrics.fcgi: figures and health of all processes, as FastCGI on fd 0
 * or on a socket of its own, or as plain CGI.  One thread; a request is
 * answered in the turn in which it is whole, and blocks on the disk only.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgi.h"
#include "clock.h"
#include "conf.h"
#include "fcgx.h"
#include "http.h"
#include "intake.h"
#include "log.h"
#include "loop.h"
#include "params.h"
#include "query.h"
#include "reply.h"
#include "route.h"
#include "scrape.h"
#include "sock.h"

#define PROGRAM      "sse-metrics.fcgi"
#define EX_USAGE_    64 /* sysexits(3) */
#define MAX_WAITING  256
#define RESPONSE_MAX (4u << 20)
#define FINISH_US    2000000 /* for what is being written when told to end */

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define JSON_TYPE "application/json"

struct program {
	struct conf conf;
	const char *conf_path; /* NULL: where conf_load looks */
	struct loop *loop;
	struct reply_set *replies;
	struct intake *intake;
	struct watch signals;
	uint64_t end_us; /* 0: runs */
};

#define OWNER(ptr, type, member)                                               \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- answers ------------------------------------------------------------ */

enum form { FORM_TEXT, FORM_JSON, FORM_UNKNOWN };

/* The last format= of the query. */
static enum form
form_of(const struct params *p)
{
	struct span rest = route_query(p);
	struct query_pair pair;
	enum form form = FORM_TEXT;

	while (query_next(&rest, &pair)) {
		if (!span_eq(pair.name, SPAN("format")))
			continue;
		if (span_eq(pair.value, SPAN("json")))
			form = FORM_JSON;
		else if (span_eq(pair.value, SPAN("prometheus")) ||
		    pair.value.len == 0)
			form = FORM_TEXT;
		else
			form = FORM_UNKNOWN;
	}
	return form;
}

static enum status
answer_error(struct buf *out, int status, struct span detail, bool head_only)
{
	const struct http_error e = {.status = status,
	    .detail = detail,
	    .allow = status == 405 ? SPAN("GET, HEAD") : SPAN_NONE,
	    .retry_after_s = status == 503 ? 5 : 0};

	return http_error(out, &e, SPAN_NONE, head_only);
}

static enum status
answer_ready(struct program *pr, struct buf *out, bool head_only)
{
	struct scrape s;
	struct buf body;
	enum status st;

	st = scrape_read(&s, pr->conf.database, clock_real_ms());
	if (st != ST_OK)
		return st;
	buf_init(&body, RESPONSE_MAX);
	st = scrape_ready_json(&s, &body);
	if (st == ST_OK)
		st = http_ok(out, scrape_ready(&s) ? 200 : 503, SPAN(JSON_TYPE),
		    buf_span(&body), head_only);
	buf_fini(&body);
	scrape_fini(&s);
	return st;
}

static enum status
answer_metrics(struct program *pr, struct buf *out, enum form form,
    bool head_only)
{
	struct scrape s;
	struct buf body;
	enum status st;

	st = scrape_read(&s, pr->conf.database, clock_real_ms());
	if (st != ST_OK)
		return st;
	buf_init(&body, RESPONSE_MAX);
	st = form == FORM_JSON ? metrics_json(s.metrics, &body)
			       : metrics_text(s.metrics, &body);
	if (st == ST_OK)
		st = http_ok(out, 200,
		    form == FORM_JSON ? SPAN(JSON_TYPE) : SPAN(TEXT_TYPE),
		    buf_span(&body), head_only);
	buf_fini(&body);
	scrape_fini(&s);
	return st;
}

static enum status
answer_path(struct program *pr, const struct params *p, struct span path,
    struct buf *out, bool head_only)
{
	if (span_eq(path, SPAN("healthz")))
		return http_ok(out, 200, SPAN(JSON_TYPE),
		    SPAN("{\"alive\":true}\n"), head_only);
	if (span_eq(path, SPAN("readyz")))
		return answer_ready(pr, out, head_only);
	if (path.len > 0)
		return answer_error(out, 404,
		    SPAN("There is nothing at this path: /healthz, /readyz, "
			 "or no path at all for the metrics."),
		    head_only);
	if (form_of(p) == FORM_UNKNOWN)
		return answer_error(out, 400,
		    SPAN("This format is not known: format=json, or none for "
			 "Prometheus text."),
		    head_only);
	return answer_metrics(pr, out, form_of(p), head_only);
}

static enum status
answer(struct program *pr, const struct params *p, struct buf *out)
{
	struct span method = params_get(p, "REQUEST_METHOD"), path;
	bool head_only = span_eq(method, SPAN("HEAD"));
	struct buf text;
	enum status st;

	if (!head_only && !span_eq(method, SPAN("GET")))
		return answer_error(out, 405,
		    SPAN("Metrics are read with GET or HEAD."), false);
	buf_init(&text, 4 * PARAMS_MAX_BYTES);
	st = buf_reserve(&text, route_room(p));
	if (st != ST_OK)
		return ST_NOMEM;
	if (route_path(&text, p, SPAN(PROGRAM), &path) == ST_OK)
		st = answer_path(pr, p, path, out, head_only);
	else
		st = answer_error(out, 400,
		    SPAN("The path has a broken percent escape."), head_only);
	buf_fini(&text);
	return st;
}

/* Takes fd. */
static void
respond(struct program *pr, int fd, uint16_t request_id, const struct params *p)
{
	struct buf out;
	enum status st;

	buf_init(&out, RESPONSE_MAX + 4096);
	st = answer(pr, p, &out);
	if (st != ST_OK) {
		log_warnx("a request could not be answered: %s",
		    status_name(st));
		st = answer_error(&out, 503,
		    SPAN("There is not enough memory to answer."), false);
	}
	if (st == ST_OK)
		reply_send(pr->replies, fd, request_id, buf_span(&out));
	else
		(void)close(fd);
	buf_fini(&out);
}

static void
on_request(void *arg, int fd, uint16_t request_id, const struct params *p)
{
	respond(arg, fd, request_id, p);
}

/* ---- running ------------------------------------------------------------ */

static void
turn(struct program *pr, uint64_t max_wait_us)
{
	if (loop_turn(pr->loop, max_wait_us) != ST_OK)
		log_warn("epoll_wait");
	reply_set_reap(pr->replies);
	if (pr->intake != NULL)
		intake_reap(pr->intake);
}

/* One response on standard output. */
static enum status
run_cgi(struct program *pr, struct errmsg *err)
{
	struct params p;

	if (getenv("REQUEST_METHOD") == NULL) {
		errmsg_set(err,
		    "neither a listening socket on fd 0 nor a CGI request: "
		    "start it from a web server, or with --listen");
		return ST_INVALID;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	params_init(&p);
	if (cgi_read(&p) != ST_OK)
		return ST_NOMEM;
	respond(pr, STDOUT_FILENO, REPLY_RAW, &p);
	params_fini(&p);
	while (reply_set_count(pr->replies) > 0)
		turn(pr, LOOP_FOREVER);
	return ST_OK;
}

static void
reread(struct program *pr)
{
	struct errmsg err;
	struct conf fresh;

	if (conf_load(&fresh, pr->conf_path, &err) != ST_OK) {
		log_warnx("the configuration stays as it was: %s", err.text);
		return;
	}
	pr->conf = fresh;
	log_init(PROGRAM, (enum log_format)fresh.log_format,
	    (enum log_level)fresh.log_level);
}

static void
on_signal(struct watch *w, uint32_t events)
{
	struct program *pr = OWNER(w, struct program, signals);
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			reread(pr);
		} else if (pr->end_us == 0) {
			pr->end_us = loop_now_us(pr->loop) + FINISH_US;
			intake_stop(pr->intake);
		}
	}
}

/* Before fcgx_init(), whose handler would swallow a SIGTERM. */
static enum status
watch_signals(struct program *pr)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return ST_IO;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return ST_IO;
	pr->signals = (struct watch){.fd = fd, .fn = on_signal};
	return loop_add(pr->loop, &pr->signals, EPOLLIN);
}

/* Serves until a signal says that it is enough. */
static enum status
run_fastcgi(struct program *pr, int listener)
{
	const struct intake_options o = {.listener = listener,
	    .timeout_us = (uint64_t)pr->conf.request_timeout_ms * 1000,
	    .max_waiting = MAX_WAITING,
	    .ready = on_request,
	    .arg = pr};
	enum status st;

	st = watch_signals(pr);
	if (st == ST_OK)
		st = fcgx_init();
	(void)signal(SIGPIPE, SIG_IGN); /* libfcgi has put its own there */
	if (st == ST_OK)
		st = intake_new(&pr->intake, pr->loop, &o);
	if (st != ST_OK)
		return st;
	while (pr->end_us == 0)
		turn(pr, LOOP_FOREVER);
	while (reply_set_count(pr->replies) > 0 &&
	    loop_now_us(pr->loop) < pr->end_us)
		turn(pr, 100000);
	intake_free(&pr->intake);
	(void)close(pr->signals.fd);
	return ST_OK;
}

static bool
is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

static enum status
run(struct program *pr, const char *address, struct errmsg *err)
{
	int fd = STDIN_FILENO, flags;
	enum status st;

	if (address != NULL) {
		st = sock_listen(address, (unsigned)pr->conf.socket_mode, &fd,
		    err);
		if (st != ST_OK)
			return st;
	} else if (!is_listening(fd)) {
		return run_cgi(pr, err);
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return ST_IO;
	st = run_fastcgi(pr, fd);
	if (address != NULL)
		(void)close(fd);
	return st;
}

static int
start(struct program *pr, const char *address)
{
	struct errmsg err = {""};
	enum status st;

	st = loop_new(&pr->loop);
	if (st == ST_OK)
		st = reply_set_new(&pr->replies, pr->loop);
	if (st == ST_OK)
		st = run(pr, address, &err);
	if (st != ST_OK)
		log_error("%s",
		    err.text[0] != '\0' ? err.text : status_name(st));
	reply_set_free(&pr->replies);
	loop_free(&pr->loop);
	return st == ST_OK ? 0 : 1;
}

static int
usage(FILE *out, int code)
{
	(void)fputs("usage: " PROGRAM " [-hV] [-c file] "
		    "[--listen path | host:port]\n",
	    out);
	return code;
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"listen", required_argument, NULL, 'l'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

int
main(int argc, char **argv)
{
	static struct program pr;
	const char *address = NULL;
	struct errmsg err;
	int c;

	while (
	    (c = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			pr.conf_path = optarg;
			break;
		case 'l':
			address = optarg;
			break;
		case 'h':
			return usage(stdout, 0);
		case 'V':
			(void)puts(PROGRAM " " WALCAST_VERSION);
			return 0;
		default:
			return usage(stderr, EX_USAGE_);
		}
	}
	log_init(PROGRAM, LOG_TEXT, LOG_INFO_);
	if (conf_load(&pr.conf, pr.conf_path, &err) != ST_OK) {
		log_error("%s", err.text);
		return CONF_EXIT;
	}
	log_init(PROGRAM, (enum log_format)pr.conf.log_format,
	    (enum log_level)pr.conf.log_level);
	return start(&pr, address);
}
