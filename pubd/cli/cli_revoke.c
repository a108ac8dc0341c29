/* SPDX-License-Identifier: MIT */
/*
 * walcast revoke: takes from a user, a token or a stream what it was given.
 * Exit 0 only when pubd has made it durable.  Waits for it for a bounded time.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli_commands.h"
#include "cli_link.h"
#include "jsontext.h"
#include "store.h"
#include "utf8.h"

#define TIMEOUT_US UINT64_C(10000000)
#define LINE_BYTES 4096

static const char help_text[] =
    "usage: walcast revoke --user NAME | --token JTI | --stream ID\n"
    "       walcast revoke --list\n\n"
    "Ends their streams within a second, in all workers, and refuses tokens\n"
    "that were issued before.  Prints the id of the revocation.  For root, "
    "the\n"
    "owner of the log, and whom the access file lets revoke.\n\n"
    "  -u, --user NAME    all that this user was given so far\n"
    "  -t, --token JTI    the token with this `jti`\n"
    "  -s, --stream ID    one stream, as X-SSE-Stream says it\n"
    "      --until TIME   may be forgotten then: the token's `exp`\n"
    "  -l, --list         what is revoked\n";

static const struct option options[] = {
    {"user", required_argument, NULL, 'u'},
    {"token", required_argument, NULL, 't'},
    {"stream", required_argument, NULL, 's'},
    {"until", required_argument, NULL, 'U'},
    {"list", no_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct revoke_wish {
	const char *kind, *value, *until;
	int n;
	bool list;
};

static enum cli_exit
revoke_report(const struct wire_answer *a)
{
	if (a->ok == WIRE_OK) {
		(void)printf("%" PRId64 "\n", a->id);
		return cli_finish(CLI_OK);
	}
	cli_say("nothing was revoked: %.*s", (int)a->message.len,
	    a->message.p == NULL ? "" : a->message.p);
	return CLI_FAILED;
}

static enum status
revoke_write(struct buf *b, const struct revoke_wish *w)
{
	buf_addf(b, "{\"op\":\"revoke\",\"%s\":", w->kind);
	jsontext_add_quoted(b, span_str(w->value));
	if (w->until != NULL)
		buf_addf(b, ",\"until\":%s", w->until);
	buf_add(b, SPAN("}"));
	return buf_finish(b, 0);
}

static enum cli_exit
revoke_ask(const struct cli *cli, const struct revoke_wish *w)
{
	enum cli_exit code = CLI_UNAVAILABLE;
	struct cli_answer answer = {.a = WIRE_ANSWER_NONE};
	struct errmsg err = {""};
	struct buf line;

	buf_init(&line, LINE_BYTES);
	if (revoke_write(&line, w) != ST_OK) {
		cli_say("the value is too long");
		buf_fini(&line);
		return CLI_USAGE;
	}
	if (cli_link_ask(cli->conf.socket, buf_span(&line), TIMEOUT_US, &answer,
		&err) == ST_OK)
		code = revoke_report(&answer.a);
	else
		cli_say("%s", err.text);
	cli_answer_fini(&answer);
	buf_fini(&line);
	return code;
}

static enum status
revoke_tell(void *arg, const struct revocation *v, int64_t id)
{
	(void)arg;
	(void)printf("%" PRId64 "\t%s\t%.*s\t%" PRId64 "\t%" PRId64 "\n", id,
	    revocation_kind_name(v->kind), (int)v->value.len, v->value.p,
	    v->at_ms / 1000, v->until_ms / 1000);
	return ST_OK;
}

static enum cli_exit
revoke_list(const struct cli *cli)
{
	const struct store_options o = {.path = cli->conf.database,
	    .for_show = true};
	struct store_reader *r = NULL;
	struct errmsg err = {""};
	enum status st = store_reader_open(&r, &o, &err);

	if (st != ST_OK) {
		cli_say("%s", err.text);
		return CLI_FAILED;
	}
	st = store_revocations(r, revoke_tell, NULL);
	if (st != ST_OK)
		cli_say("cannot read the revocations: %s",
		    store_reader_error(r));
	store_reader_close(&r);
	return st == ST_OK ? cli_finish(CLI_OK) : CLI_FAILED;
}

static bool
revoke_option(struct revoke_wish *w, int o)
{
	if (o == 'l') {
		w->list = true;
	} else if (o == 'U') {
		w->until = optarg;
	} else if (o == 'u' || o == 't' || o == 's') {
		w->kind = o == 'u' ? "user" : o == 't' ? "token" : "stream";
		w->value = optarg;
		w->n++;
	} else {
		return false;
	}
	return true;
}

static bool
revoke_wish_ok(const struct revoke_wish *w)
{
	int64_t until;

	if (w->until != NULL && !span_to_int64(span_str(w->until), &until)) {
		cli_say("--until \"%.80s\" is no Unix time in seconds",
		    w->until);
		return false;
	}
	if (w->value != NULL && !utf8_ok(span_str(w->value))) {
		cli_say("the value is no UTF-8: nobody has such a name, since "
			"workers take none that is not");
		return false;
	}
	if (w->n == (w->list ? 0 : 1))
		return true;
	cli_say("say one of --user, --token, --stream and --list");
	return false;
}

static enum cli_exit
revoke_run(const struct cli *cli, int argc, char **argv)
{
	struct revoke_wish w = {.n = 0};
	int o;

	while ((o = getopt_long(argc, argv, "u:t:s:lh", options, NULL)) != -1)
		if (!revoke_option(&w, o))
			return cli_usage(o);
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		return cli_usage('?');
	}
	if (!revoke_wish_ok(&w))
		return cli_usage('?');
	return w.list ? revoke_list(cli) : revoke_ask(cli, &w);
}

const struct cli_command cli_revoke = {
    .name = "revoke",
    .summary = "take from a user, a token or a stream what it was given",
    .help = help_text,
    .run = revoke_run,
};
