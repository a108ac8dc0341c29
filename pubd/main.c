/* SPDX-License-Identifier: MIT */
/*
 * pubd(8): options, configuration, checks; then the server.  The only place
 * of the daemon that reports and exits.
 */
#include <stdio.h>
#include <unistd.h>

#include "conf.h"
#include "log.h"
#include "server.h"
#include "store.h"

struct options {
	const char *conf_path;
	bool check;
};

static void
usage(FILE *out)
{
	(void)fputs("usage: pubd [-n] [-c file]\n"
		    "  -c FILE  read this configuration\n"
		    "  -n       check configuration and log, print the "
		    "configuration, exit\n"
		    "  -V       print the version\n"
		    "  -h       print this\n"
		    "See pubd(8) and walcast.conf(5).\n",
	    out);
}

/* Returns -1 to go on, else the exit status. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "c:nVh")) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'n':
			o->check = true;
			break;
		case 'V':
			(void)printf("pubd (Walcast) %s\n", WALCAST_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 64; /* EX_USAGE */
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 64;
	}
	return -1;
}

static int
check_only(const struct conf *conf)
{
	struct errmsg err = {""};

	conf_dump(conf, stdout);
	if (store_check_modes(conf->database, &err) == ST_OK)
		return 0;
	log_error("%s", err.text);
	return CONF_EXIT;
}

static int
serve(const struct conf *conf, const char *conf_path)
{
	struct server *s = NULL;
	struct errmsg err = {""};
	enum status st = store_check_modes(conf->database, &err);

	if (st == ST_OK)
		st = server_new(&s, conf, conf_path, &err);
	if (st != ST_OK) {
		log_error("%s", err.text);
		return 1;
	}
	st = server_run(s);
	if (st != ST_OK)
		log_warn("the event loop failed");
	server_free(&s);
	return st == ST_OK ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct options o = {NULL, false};
	struct errmsg err = {""};
	struct conf conf;
	int rc = parse_options(argc, argv, &o);

	if (rc >= 0)
		return rc;
	log_init("pubd", LOG_TEXT, LOG_INFO_);
	if (conf_load(&conf, o.conf_path, &err) != ST_OK) {
		log_error("%s", err.text);
		return CONF_EXIT;
	}
	if (o.check)
		return check_only(&conf);
	return serve(&conf, o.conf_path);
}
