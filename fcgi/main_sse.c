/* SPDX-License-Identifier: MIT */
/*
 * sse.fcgi: one binary, three ways to run.  With --listen it stands alone;
 * else fd 0 decides: a listening socket is FastCGI, as web servers start it;
 * anything else is plain CGI.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgi.h"
#include "conf.h"
#include "listener.h"
#include "log.h"
#include "owner.h"
#include "store.h"
#include "worker.h"

#define EX_USAGE_ 64 /* sysexits(3) */

struct options {
	const char *conf_path;
	const char *listen;
	bool check_only;
};

static const char usage[] =
    "usage: sse.fcgi [-nVh] [-c FILE] [--listen PATH|HOST:PORT]\n"
    "  -c FILE          configuration (else $WALCAST_CONF, else\n"
    "                   " CONF_DEFAULT_PATH ")\n"
    "  --listen ADDRESS stand alone on a Unix socket or TCP address\n"
    "  -n               check configuration and log, then exit\n"
    "  -V               print the version\n"
    "  -h               print this\n"
    "Without --listen: FastCGI when standard input is a listening socket,\n"
    "else one request as plain CGI.  See sse.fcgi(8).\n";

/* Returns -1 to go on, else the exit status. */
static int
read_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"listen", required_argument, NULL, 'l'},
	    {"config", required_argument, NULL, 'c'},
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:l:nVh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'l':
			o->listen = optarg;
			break;
		case 'n':
			o->check_only = true;
			break;
		case 'V':
			(void)puts("sse.fcgi " WALCAST_VERSION);
			return 0;
		case 'h':
			(void)fputs(usage, stdout);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return EX_USAGE_;
		}
	}
	if (optind == argc)
		return -1;
	(void)fprintf(stderr, "sse.fcgi: what is \"%s\"?\n%s", argv[optind],
	    usage);
	return EX_USAGE_;
}

/* What a web server shows for a CGI program that cannot run. */
static void
say_unavailable(void)
{
	(void)fputs("Status: 503 Service Unavailable\r\n"
		    "Content-Type: application/problem+json\r\n"
		    "Retry-After: 10\r\n\r\n"
		    "{\"type\":\"about:blank\",\"title\":\"Service "
		    "Unavailable\",\"status\":503,\"detail\":\"The event log "
		    "cannot be opened; the error log says why.\"}\n",
	    stdout);
	(void)fflush(stdout);
}

static int
serve(const struct options *o, const struct conf *c)
{
	struct worker *w = NULL;
	struct errmsg err = {""};
	int fd = -1;
	enum status st = owner_check(c->database, &err);

	if (st == ST_OK)
		st = listener_find(o->listen, (unsigned)c->socket_mode, &fd,
		    &err);
	if (st == ST_OK)
		st = worker_new(&w, c, fd, &err);
	if (st != ST_OK) {
		log_error("%s", err.text);
		if (fd < 0 && o->listen == NULL)
			say_unavailable();
		return EXIT_FAILURE;
	}
	st = worker_run(w, o->listen == NULL ? "standard input" : o->listen);
	worker_free(&w);
	if (o->listen != NULL && strchr(o->listen, '/') != NULL)
		(void)unlink(o->listen);
	return st == ST_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
check(const struct conf *c)
{
	struct store_options o = {.path = c->database};
	struct store_reader *r = NULL;
	struct errmsg err = {""};
	enum status st = store_check_modes(c->database, &err);

	if (st == ST_OK)
		st = store_reader_open(&r, &o, &err);
	if (st != ST_OK) {
		log_error("%s", err.text);
		return CONF_EXIT;
	}
	store_reader_close(&r);
	conf_dump(c, stdout);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	struct options o = {0};
	struct errmsg err = {""};
	struct conf c;
	int rc = read_options(cgi_arguments(argc), argv, &o);

	if (rc >= 0)
		return rc;
	log_init("sse.fcgi", LOG_TEXT, LOG_INFO_);
	if (conf_load(&c, o.conf_path, &err) != ST_OK) {
		log_error("%s", err.text);
		return CONF_EXIT;
	}
	log_init("sse.fcgi", (enum log_format)c.log_format,
	    (enum log_level)c.log_level);
	return o.check_only ? check(&c) : serve(&o, &c);
}
