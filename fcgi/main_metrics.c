/* SPDX-License-Identifier: MIT */
/*
 * sse-metrics.fcgi(8): metrics and health of all processes, as FastCGI on fd 0
 * or on a socket of its own, or as plain CGI.  Its life is that of all
 * programs (program.h).
 */
#include <stdio.h>

#include "cgi.h"
#include "fcgx.h"
#include "listener.h"
#include "metrics_doc.h"
#include "metrics_http.h"
#include "metrics_server.h"
#include "owner.h"
#include "program.h"
#include "store.h"

#define METRICS_DOC_MAX (1u << 20)

static const char *metrics_address; /* NULL: fd 0 */

static enum status
serve_metrics(struct program *p, struct errmsg *err)
{
	struct metrics_server *ms = NULL;
	int fd = -1;
	enum status st = owner_check(p->conf.database, err);

	if (st == ST_OK)
		st = listener_find(metrics_address,
		    (unsigned)p->conf.socket_mode, &fd, err);
	if (st == ST_OK)
		st = fcgx_init();
	if (st == ST_OK)
		st = metrics_server_new(&ms, p, fd, err);
	if (st == ST_OK)
		st = metrics_server_run(ms);
	metrics_server_free(&ms);
	listener_end(metrics_address, fd);
	return st;
}

/* --catalogue: the table of docs/METRICS.md. */
static int
print_catalogue(void)
{
	struct buf out;
	bool done;

	buf_init(&out, METRICS_DOC_MAX);
	done = metrics_doc_put(&out) == ST_OK &&
	    fwrite(buf_span(&out).p, out.len, 1, stdout) == 1;
	buf_fini(&out);
	return done ? PROGRAM_OK : PROGRAM_FAILED;
}

static enum status
metrics_check_log(const struct conf *c, struct errmsg *err)
{
	return store_check_reading(c->database, err);
}

int
main(int argc, char **argv)
{
	static const struct program_option options[] = {
	    LISTENER_OPTION(&metrics_address),
	    {.name = "catalogue",
		.sentence = "print the table of all metrics in Markdown",
		.act = print_catalogue},
	};
	static struct program metrics = {
	    .name = METRICS_HTTP_PROGRAM,
	    .conf_user = CONF_METRICS,
	    .options = options,
	    .n_options = sizeof(options) / sizeof(options[0]),
	    .note = LISTENER_NOTE,
	    .check = metrics_check_log,
	    .serve = serve_metrics,
	};

	return program_main(&metrics, cgi_arguments(argc), argv);
}
