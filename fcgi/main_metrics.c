/* SPDX-License-Identifier: MIT */
/*
 * sse-metrics.fcgi: figures and health of all processes, as FastCGI on fd 0
 * or on a socket of its own, or as plain CGI.  One thread; a request is
 * answered in the turn in which it is whole, and blocks on the disk only.
 * Streams of the status page live on until their reader leaves.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "answers.h"
#include "catalogue.h"
#include "cgi.h"
#include "conf.h"
#include "intake.h"
#include "listener.h"
#include "log.h"
#include "owner.h"
#include "loop.h"
#include "params.h"
#include "random.h"
#include "reply.h"
#include "self.h"
#include "signals.h"
#include "statusstream.h"

#define PROGRAM       ANSWERS_PROGRAM
#define EX_USAGE_     64 /* sysexits(3) */
#define MAX_WAITING   256
#define CATALOGUE_MAX (1u << 20)
#define LOOK_MS       1000    /* for the streams of the status page */
#define FINISH_US     2000000 /* for what is being written when told to end */

struct program {
	struct conf conf;
	const char *conf_path; /* NULL: where conf_load looks */
	struct loop *loop;
	struct reply_set *replies;
	struct intake *intake; /* NULL: plain CGI */
	struct statusstreams *streams;
	struct self *self; /* NULL: it tells nobody of itself */
	struct answers answers;
	struct watch signals;
	uint64_t end_us; /* 0: runs */
};

/* ---- requests ----------------------------------------------------------- */

/* Begins a stream on fd, or appends why not; true when it took fd. */
static bool
open_stream(struct program *pr, int fd, uint16_t request_id, struct buf *out,
    enum status *st)
{
	*st = statusstreams_open(pr->streams, fd, request_id);
	if (*st == ST_OK)
		return true;
	if (*st == ST_FULL)
		*st = answers_error(out, 503,
		    SPAN("As many watch already as one process lets; fetch "
			 "format=json instead."),
		    false);
	return false;
}

/* Takes fd. */
static void
respond(struct program *pr, int fd, uint16_t request_id, const struct params *p)
{
	struct buf out;
	bool stream;
	enum status st;

	buf_init(&out, ANSWERS_MAX + 4096);
	st = answers_put(&pr->answers, p, &out, &stream);
	if (st == ST_OK && stream &&
	    open_stream(pr, fd, request_id, &out, &st)) {
		buf_fini(&out);
		return;
	}
	if (st != ST_OK) {
		log_warnx("a request could not be answered: %s",
		    status_name(st));
		buf_clear(&out);
		st = answers_error(&out, 503,
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

static enum status
on_look(void *arg, struct buf *json, struct frame_open *open)
{
	struct program *pr = arg;

	return answers_look(&pr->answers, json, open);
}

static void
on_report(void *arg, struct figures *f)
{
	const struct program *pr = arg;

	figures_set(f, FIG_SCRAPES, pr->answers.n_scrapes);
	beacons_report(pr->answers.beacons, f);
}

/* ---- running ------------------------------------------------------------ */

static void
turn(struct program *pr, uint64_t max_wait_us)
{
	if (loop_turn(pr->loop, max_wait_us) != ST_OK)
		log_warn("epoll_wait");
	reply_set_reap(pr->replies);
	statusstreams_reap(pr->streams);
	if (pr->intake != NULL)
		intake_reap(pr->intake);
}

/* Is there something that its reader has not taken to the end? */
static bool
is_busy(const struct program *pr)
{
	return reply_set_count(pr->replies) > 0 ||
	    statusstreams_count(pr->streams) > 0;
}

/* Until all is out, at the latest when a signal's time is up. */
static void
finish(struct program *pr)
{
	while (is_busy(pr) &&
	    (pr->end_us == 0 || loop_now_us(pr->loop) < pr->end_us))
		turn(pr, pr->end_us == 0 ? LOOP_FOREVER : 100000);
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
	log_limit((unsigned)fresh.log_rate);
}

static void
on_signal(struct watch *w, uint32_t events)
{
	struct program *pr = OWNER_OF(w, struct program, signals);
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			reread(pr);
		} else if (pr->end_us == 0) {
			pr->end_us = loop_now_us(pr->loop) + FINISH_US;
			if (pr->intake != NULL)
				intake_stop(pr->intake);
			statusstreams_drain(pr->streams);
		}
	}
}

/* One response on standard output, or one stream. */
static enum status
run_cgi(struct program *pr, struct errmsg *err)
{
	struct params p;
	enum status st;

	if (getenv("REQUEST_METHOD") == NULL) {
		errmsg_set(err,
		    "neither a listening socket on fd 0 nor a CGI request: "
		    "start it from a web server, or with --listen");
		return ST_INVALID;
	}
	pr->signals.fn = on_signal;
	st = signals_watch(pr->loop, &pr->signals);
	params_init(&p);
	params_keep_body(&p, BEACONS_BODY_BYTES);
	if (st == ST_OK)
		st = cgi_read(&p);
	if (st == ST_OK)
		respond(pr, STDOUT_FILENO, REPLY_RAW, &p);
	params_fini(&p);
	finish(pr);
	return st;
}

/* Serves until a signal says that it is enough. */
static enum status
run_fastcgi(struct program *pr, int listener)
{
	const struct intake_options o = {.listener = listener,
	    .timeout_us = (uint64_t)pr->conf.request_timeout_ms * 1000,
	    .max_waiting = MAX_WAITING,
	    .body_bytes = BEACONS_BODY_BYTES,
	    .ready = on_request,
	    .arg = pr};
	const struct self_options self = {.role = "metrics",
	    .socket = pr->conf.socket,
	    .fill = on_report,
	    .arg = pr};
	enum status st;

	pr->signals.fn = on_signal;
	st = signals_watch(pr->loop, &pr->signals);
	if (st == ST_OK)
		st = beacons_new(&pr->answers.beacons, random_seed());
	if (st == ST_OK)
		st = intake_new(&pr->intake, pr->loop, &o);
	if (st == ST_OK && pr->conf.metrics == CONF_ON)
		st = self_new(&pr->self, pr->loop, &self);
	if (st != ST_OK)
		return st;
	while (pr->end_us == 0)
		turn(pr, LOOP_FOREVER);
	finish(pr);
	self_free(&pr->self);
	intake_free(&pr->intake);
	beacons_free(&pr->answers.beacons);
	(void)close(pr->signals.fd);
	return ST_OK;
}

static enum status
run(struct program *pr, const char *address, struct errmsg *err)
{
	int fd;
	enum status st = owner_check(pr->conf.database, err);

	if (st == ST_OK)
		st = listener_find(address, (unsigned)pr->conf.socket_mode, &fd,
		    err);
	if (st != ST_OK)
		return st;
	if (fd < 0)
		return run_cgi(pr, err);
	st = run_fastcgi(pr, fd);
	if (address != NULL)
		(void)close(fd);
	return st;
}

static int
start(struct program *pr, const char *address)
{
	const struct statusstream_options streams = {.interval_ms = LOOK_MS,
	    .retry_ms = pr->conf.retry_ms,
	    .look = on_look,
	    .arg = pr};
	struct errmsg err = {""};
	enum status st;

	pr->answers.conf = &pr->conf;
	st = loop_new(&pr->loop);
	if (st == ST_OK)
		st = reply_set_new(&pr->replies, pr->loop);
	if (st == ST_OK)
		st = statusstreams_new(&pr->streams, pr->loop, &streams);
	if (st == ST_OK)
		st = run(pr, address, &err);
	if (st != ST_OK)
		log_error("%s",
		    err.text[0] != '\0' ? err.text : status_name(st));
	statusstreams_free(&pr->streams);
	reply_set_free(&pr->replies);
	loop_free(&pr->loop);
	return st == ST_OK ? 0 : 1;
}

static int
usage(FILE *out, int code)
{
	(void)fputs("usage: " PROGRAM " [-hV] [-c file] "
		    "[--listen path | host:port]\n"
		    "       " PROGRAM " --catalogue\n",
	    out);
	return code;
}

/* The table of docs/METRICS.md. */
static int
print_catalogue(void)
{
	struct buf out;
	bool done;

	buf_init(&out, CATALOGUE_MAX);
	done = catalogue_put(&out) == ST_OK &&
	    fwrite(buf_span(&out).p, out.len, 1, stdout) == 1;
	buf_fini(&out);
	return done ? 0 : 1;
}

static const struct option long_options[] = {
    {"catalogue", no_argument, NULL, 'C'},
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

	argc = cgi_arguments(argc);
	while (
	    (c = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			pr.conf_path = optarg;
			break;
		case 'l':
			address = optarg;
			break;
		case 'C':
			return print_catalogue();
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
	log_limit((unsigned)pr.conf.log_rate);
	return start(&pr, address);
}
