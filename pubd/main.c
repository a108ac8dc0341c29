/* SPDX-License-Identifier: MIT */
/* pubd(8): the daemon.  Its life is that of all programs (program.h). */
#include <errno.h>
#include <string.h>

#include "access_file.h"
#include "program.h"
#include "server.h"
#include "store.h"

static enum status
pubd_check_log(const struct conf *c, struct errmsg *err)
{
	return store_check_modes(c->database, err);
}

/* -n */
static enum status
pubd_check(const struct conf *c, struct errmsg *err)
{
	enum status st = pubd_check_log(c, err);

	return st == ST_OK ? access_file_check(c, err) : st;
}

static enum status
serve_publishers(struct program *p, struct errmsg *err)
{
	struct server *s = NULL;
	enum status st = pubd_check_log(&p->conf, err);

	if (st == ST_OK)
		st = server_new(&s, p, err);
	if (st != ST_OK)
		return st;
	st = server_run(s);
	if (st != ST_OK)
		errmsg_set(err, "the event loop failed: %s", strerror(errno));
	server_free(&s);
	return st;
}

int
main(int argc, char **argv)
{
	static struct program pubd = {
	    .name = "pubd",
	    .conf_user = CONF_PUBD,
	    .check = pubd_check,
	    .serve = serve_publishers,
	};

	return program_main(&pubd, argc, argv);
}
