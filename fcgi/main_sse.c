/* SPDX-License-Identifier: MIT */
/*
 * sse.fcgi(8): one binary, three ways to run.  With --listen it stands alone;
 * else fd 0 decides: a listening socket is FastCGI, as web servers start it;
 * anything else is plain CGI.  Its life is that of all programs (program.h).
 */
#include <stdio.h>

#include "access_file.h"
#include "authorizer.h"
#include "cgi.h"
#include "fcgx.h"
#include "listener.h"
#include "owner.h"
#include "program.h"
#include "store.h"
#include "token_keys.h"
#include "worker.h"

static const char *sse_address; /* NULL: fd 0 */

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

/* *fd is -1 for plain CGI, and as long as there is no listener. */
static enum status
open_worker(struct worker **w, struct program *p, int *fd, struct errmsg *err)
{
	enum status st = owner_check(p->conf.database, err);

	*fd = -1;
	if (st == ST_OK)
		st = listener_find(sse_address, (unsigned)p->conf.socket_mode,
		    fd, err);
	if (st == ST_OK)
		st = fcgx_init();
	if (st == ST_OK)
		st = worker_new(w, p, *fd, err);
	return st;
}

static enum status
serve_streams(struct program *p, struct errmsg *err)
{
	struct worker *w = NULL;
	int fd;
	enum status st = open_worker(&w, p, &fd, err);

	if (st != ST_OK) {
		if (fd < 0 && sse_address == NULL)
			say_unavailable();
	} else {
		st = worker_run(w,
		    sse_address == NULL ? "standard input" : sse_address);
		errmsg_set(err, "the worker ended: %s", status_name(st));
	}
	worker_free(&w);
	listener_end(sse_address, fd);
	return st;
}

static enum status
sse_check_keys(const struct conf *c, struct errmsg *err)
{
	struct token_keys *keys = NULL;
	enum status st = ST_OK;

	if (c->token_keys[0] != '\0')
		st = token_keys_open(&keys, c->token_keys, err);
	token_keys_free(&keys);
	return st;
}

/* -n */
static enum status
sse_check(const struct conf *c, struct errmsg *err)
{
	enum status st = store_check_reading(c->database, err);

	if (st == ST_OK)
		st = access_file_check(c, err);
	if (st == ST_OK)
		st = authorizer_check(span_str(c->authorizer), err);
	return st == ST_OK ? sse_check_keys(c, err) : st;
}

int
main(int argc, char **argv)
{
	static const struct program_option options[] = {
	    LISTENER_OPTION(&sse_address)};
	static struct program sse = {
	    .name = "sse.fcgi",
	    .conf_user = CONF_WORKER,
	    .options = options,
	    .n_options = sizeof(options) / sizeof(options[0]),
	    .note = LISTENER_NOTE,
	    .check = sse_check,
	    .serve = serve_streams,
	};

	return program_main(&sse, cgi_arguments(argc), argv);
}
