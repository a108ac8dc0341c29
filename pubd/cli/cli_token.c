/* SPDX-License-Identifier: MIT */
/*
 * walcast token: makes a token that workers take, or says what one holds.  The
 * token goes to stdout and nowhere else.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "cli_commands.h"
#include "name.h"
#include "random.h"
#include "token.h"

#define PATTERNS_MAX 64
#define ID_BYTES     16
#define DEFAULT_S    3600

static const char help_text[] =
    "usage: walcast token [--user NAME] [--read PATTERN]... [--publish "
    "PATTERN]...\n"
    "                     [--for TIME] [--id JTI] [--key KID] [--aud AUD] "
    "[--iss ISS]\n"
    "       walcast token --check FILE\n\n"
    "Makes a token with a key of token_keys that can sign, and prints it.  "
    "Whoever\n"
    "has it is what it says.\n\n"
    "  -u, --user NAME        whose it is (`sub`)\n"
    "  -r, --read PATTERN     what it may read, such as orders.*\n"
    "  -p, --publish PATTERN  what it may publish\n"
    "  -f, --for TIME         how long it holds: 90, 90s, 15m, 8h, 30d; 1h\n"
    "  -i, --id JTI           its name, for `walcast revoke`; random\n"
    "  -k, --key KID          which key signs; the first that can\n"
    "      --aud AUD          whom it is for; token_audience\n"
    "      --iss ISS          who made it; token_issuer\n"
    "  -c, --check FILE       what the token in a file holds (- for stdin)\n";

static const struct option options[] = {
    {"user", required_argument, NULL, 'u'},
    {"read", required_argument, NULL, 'r'},
    {"publish", required_argument, NULL, 'p'},
    {"for", required_argument, NULL, 'f'},
    {"id", required_argument, NULL, 'i'},
    {"key", required_argument, NULL, 'k'},
    {"aud", required_argument, NULL, 'A'},
    {"iss", required_argument, NULL, 'I'},
    {"check", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct token_request {
	struct token_wish wish;
	struct span read[PATTERNS_MAX], publish[PATTERNS_MAX];
	int64_t for_s;
	const char *check;
	char id[2 * ID_BYTES + 1];
};

/* ---- options ------------------------------------------------------------- */

/* "90", "90s", "15m", "8h", "30d" in seconds. */
static bool
read_span_of_time(const char *text, int64_t *out)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	struct span s = span_str(text);
	int64_t factor = 1, n;
	size_t i;

	for (i = 0; s.len > 0 && i < sizeof(units) / sizeof(units[0]); i++)
		if (s.p[s.len - 1] == units[i].unit) {
			factor = units[i].seconds;
			s.len--;
			break;
		}
	if (!span_to_int64(s, &n) || n < 1 || n > INT64_C(36525) * 86400)
		return false;
	*out = n * factor;
	return true;
}

static bool
take_pattern(struct span *list, size_t *n, const char *text)
{
	struct span s = span_str(text);

	if (!name_pattern_ok(s) || name_reserved(s)) {
		cli_say("\"%.130s\" is no channel or prefix that a token can "
			"hold: use 1 to 128 of A-Z a-z 0-9 _ . : / - @ %% ~ + "
			"=, and a * only at the end",
		    text);
		return false;
	}
	if (*n == PATTERNS_MAX) {
		cli_say("a token holds %d patterns: use a prefix",
		    PATTERNS_MAX);
		return false;
	}
	list[(*n)++] = s;
	return true;
}

static bool
token_option(struct token_request *t, int o)
{
	struct token_wish *w = &t->wish;

	switch (o) {
	case 'u':
		w->subject = span_str(optarg);
		return true;
	case 'r':
		return take_pattern(t->read, &w->read.n, optarg);
	case 'p':
		return take_pattern(t->publish, &w->publish.n, optarg);
	case 'i':
		w->id = span_str(optarg);
		return true;
	case 'k':
		w->key_id = span_str(optarg);
		return true;
	case 'A':
		w->audience = span_str(optarg);
		return true;
	case 'I':
		w->issuer = span_str(optarg);
		return true;
	case 'c':
		t->check = optarg;
		return true;
	default:
		break;
	}
	if (o == 'f' && read_span_of_time(optarg, &t->for_s))
		return true;
	if (o == 'f')
		cli_say("--for \"%.40s\": write 90s, 15m, 8h or 30d", optarg);
	return false;
}

/* ---- making -------------------------------------------------------------- */

static void
name_token(struct token_request *t)
{
	unsigned char bytes[ID_BYTES];
	size_t i;

	if (t->wish.id.len > 0)
		return;
	random_bytes(bytes, sizeof(bytes));
	for (i = 0; i < sizeof(bytes); i++)
		(void)snprintf(t->id + 2 * i, 3, "%02x", bytes[i]);
	t->wish.id = span_str(t->id);
}

static enum cli_exit
print_token(const struct token_keys *k, struct token_request *t)
{
	struct errmsg err = {""};
	enum cli_exit code = CLI_FAILED;
	struct buf out;

	buf_init(&out, TOKEN_MAX_BYTES + 1);
	t->wish.read.pattern = t->read;
	t->wish.publish.pattern = t->publish;
	t->wish.issued_s = clock_real_ms() / 1000;
	t->wish.expires_s = t->wish.issued_s + t->for_s;
	name_token(t);
	if (token_mint(k, &t->wish, &out, &err) != ST_OK) {
		cli_say("%s", err.text);
	} else {
		(void)printf("%.*s\n", (int)out.len, buf_span(&out).p);
		code = cli_finish(CLI_OK);
	}
	buf_fini(&out);
	return code;
}

/* ---- looking at one ------------------------------------------------------ */

static void
print_patterns(const char *what, const struct span *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		(void)printf("%s %.*s\n", what, (int)list[i].len, list[i].p);
}

static enum cli_exit
print_verified(const struct token *t)
{
	if (t->subject.len > 0)
		(void)printf("user %.*s\n", (int)t->subject.len, t->subject.p);
	if (t->id.len > 0)
		(void)printf("id %.*s\n", (int)t->id.len, t->id.p);
	(void)printf("expires %" PRId64 "\n", t->expires_s);
	print_patterns("read", t->read, t->n_read);
	print_patterns("publish", t->publish, t->n_publish);
	return cli_finish(CLI_OK);
}

static bool
read_token_file(const char *path, char *text, size_t cap, size_t *len)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

	if (f == NULL) {
		cli_say("cannot read %.200s: %m", path);
		return false;
	}
	*len = fread(text, 1, cap, f);
	if (f != stdin)
		(void)fclose(f);
	while (*len > 0 && (unsigned char)text[*len - 1] <= ' ')
		(*len)--;
	return true;
}

static enum cli_exit
check_one(const struct cli *cli, const struct token_keys *k, const char *path)
{
	const struct token_rules rules = {
	    .audience = span_str(cli->conf.token_audience),
	    .issuer = span_str(cli->conf.token_issuer)};
	char text[TOKEN_MAX_BYTES + 2];
	size_t len = 0;
	enum token_fault fault;
	enum cli_exit code = CLI_FAILED;
	struct token t;

	if (!read_token_file(path, text, sizeof(text), &len))
		return CLI_FAILED;
	token_init(&t);
	fault = token_verify(k, &rules, span_of(text, len),
	    clock_real_ms() / 1000, &t);
	if (fault == TOKEN_NONE)
		code = print_verified(&t);
	else
		cli_say("the token is not taken: %s", token_fault_name(fault));
	token_fini(&t);
	return code;
}

/* ---- the command --------------------------------------------------------- */

static enum cli_exit
with_keys(const struct cli *cli, struct token_request *t)
{
	struct token_keys *k = NULL;
	struct errmsg err = {""};
	enum cli_exit code;

	if (cli->conf.token_keys[0] == '\0') {
		cli_say("token_keys is not set in %s: it names the file with "
			"the keys",
		    cli->conf_name);
		return CLI_CONFIG;
	}
	if (token_keys_open(&k, cli->conf.token_keys, &err) != ST_OK) {
		cli_say("%s", err.text);
		return CLI_CONFIG;
	}
	code = t->check != NULL ? check_one(cli, k, t->check)
				: print_token(k, t);
	token_keys_free(&k);
	return code;
}

static enum cli_exit
token_run(const struct cli *cli, int argc, char **argv)
{
	struct token_request t = {.for_s = DEFAULT_S};
	int o;

	t.wish.subject = t.wish.id = t.wish.key_id = SPAN("");
	t.wish.audience = span_str(cli->conf.token_audience);
	t.wish.issuer = span_str(cli->conf.token_issuer);
	while ((o = getopt_long(argc, argv, "u:r:p:f:i:k:c:h", options,
		    NULL)) != -1)
		if (!token_option(&t, o))
			return cli_usage(o);
	if (optind < argc) {
		cli_say("\"%.80s\" is not expected here", argv[optind]);
		return cli_usage('?');
	}
	return with_keys(cli, &t);
}

const struct cli_command cli_token = {
    .name = "token",
    .summary = "make a token for a reader, or look at one",
    .help = help_text,
    .run = token_run,
};
