/* SPDX-License-Identifier: MIT */
/*
 * walcast publish: hands events to pubd and prints their ids.
 *
 * Invariant: `window` holds, oldest first, the line numbers of the requests
 * that pubd has not answered, and `sent` their texts; answers come in their
 * order.  What pubd had no tokens for (rate_limited) waits in `again` and is
 * sent before anything new, once nothing else is on its way.  Waits for
 * standard input without limit, and for pubd no longer than the time-out
 * while something is on its way to it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli_commands.h"
#include "cli_lines.h"
#include "cli_link.h"
#include "clock.h"
#include "json.h"
#include "jsontext.h"
#include "name.h"
#include "traceparent.h"
#include "utf8.h"

#define WINDOW        1024    /* requests on their way */
#define WINDOW_BYTES  1048576 /* of them, unless one alone is larger */
#define TIMEOUT_S     30
#define MAX_TIMEOUT_S 86400
#define REOPEN_US     500000 /* not sooner than that after another */

enum form { FORM_AUTO, FORM_JSON, FORM_TEXT };

/* Requests in their order: the texts, and where each comes from. */
struct queue {
	struct buf text;
	struct {
		uint64_t line;
		size_t len;
	} list[WINDOW];
	size_t first, n;
};

struct publish {
	struct span channel, event, key, trace;
	enum form form;
	bool lines;
	uint64_t timeout_us;
	uint64_t deadline_us; /* the next answer is there by then */
	const char *socket;
	uint64_t opened_us; /* when the link was */
	struct cli_link link;
	struct json_parser *parser;
	struct queue sent;    /* not answered */
	struct queue refused; /* for now, since the last of `again` went */
	struct queue again;   /* refused for now, before that */
	size_t limit;         /* so many may be on their way */
	size_t n_stored;      /* since the last of `again` went */
	uint64_t pause_us;    /* before the first of `again` may go */
	uint64_t give_up_us;  /* unless one is stored before */
	uint64_t n_acked, n_failed;
};

static const char help_text[] =
    "usage: walcast publish -c CHANNEL [-e EVENT] [-k KEY] [-t TRACE]\n"
    "                       [--json | --text] [--timeout S] [DATA | -]\n"
    "       walcast publish -c CHANNEL [...] --lines\n\n"
    "Publishes DATA, or all of standard input, or each line of it, and prints\n"
    "the id of each event.  Exits with 0 only when all of them are stored.\n\n"
    "  -c, --channel CHANNEL  where to\n"
    "  -e, --event EVENT      type of the event (message)\n"
    "  -k, --key KEY          idempotency key: the same one stores once\n"
    "  -t, --trace TRACE      W3C traceparent\n"
    "      --json, --text     what the data is (JSON if it is valid JSON)\n"
    "  -l, --lines            each line of standard input is one event\n"
    "      --timeout S        wait so long for pubd (30)\n";

enum { OPT_JSON = 256, OPT_TEXT, OPT_TIMEOUT };

static const struct option options[] = {
    {"channel", required_argument, NULL, 'c'},
    {"event", required_argument, NULL, 'e'},
    {"key", required_argument, NULL, 'k'},
    {"trace", required_argument, NULL, 't'},
    {"json", no_argument, NULL, OPT_JSON},
    {"text", no_argument, NULL, OPT_TEXT},
    {"lines", no_argument, NULL, 'l'},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- queues ---------------------------------------------------------------
 */

static void
queue_init(struct queue *q, size_t max_bytes)
{
	buf_init(&q->text, max_bytes);
	q->first = q->n = 0;
}

static enum status
queue_put(struct queue *q, uint64_t line, struct span text)
{
	size_t at = (q->first + q->n) % WINDOW;
	enum status st = q->n < WINDOW ? buf_append(&q->text, text) : ST_FULL;

	if (st != ST_OK)
		return st;
	q->list[at].line = line;
	q->list[at].len = text.len;
	q->n++;
	return ST_OK;
}

static uint64_t
queue_line(const struct queue *q)
{
	return q->list[q->first].line;
}

/* The oldest, which must be there; valid until the queue changes. */
static struct span
queue_text(const struct queue *q)
{
	return span_of(buf_span(&q->text).p, q->list[q->first].len);
}

static void
queue_drop(struct queue *q)
{
	buf_consume(&q->text, q->list[q->first].len);
	q->first = (q->first + 1) % WINDOW;
	q->n--;
}

/* Those of the first come before those of the second, and all are there. */
static enum status
put_before(struct queue *q, struct queue *rest)
{
	struct queue both = *q;
	enum status st = ST_FULL;

	if (q->n <= WINDOW - rest->n)
		st = buf_append(&both.text, buf_span(&rest->text));
	if (st != ST_OK)
		return st;
	for (; rest->n > 0; rest->n--) {
		both.list[(both.first + both.n++) % WINDOW] =
		    rest->list[rest->first];
		rest->first = (rest->first + 1) % WINDOW;
	}
	*q = (struct queue){.text = rest->text};
	buf_clear(&q->text);
	*rest = both;
	return ST_OK;
}

/* ---- requests ------------------------------------------------------------ */

/* What went wrong with a line (0: the only event there is). */
static void
fail(struct publish *p, uint64_t line, const char *what, const char *why)
{
	p->n_failed++;
	if (p->lines)
		cli_say("line %" PRIu64 ": %s: %s", line, what, why);
	else
		cli_say("not published: %s: %s", what, why);
}

/* Appends the request; `out` may keep a part of it when this fails. */
static enum status
put_request(struct publish *p, struct buf *out, struct span data, bool json)
{
	enum status st = buf_append(out, SPAN("{\"channel\":"));

	if (st == ST_OK)
		st = jsontext_quote(out, p->channel);
	if (st == ST_OK)
		st = cli_put_member(out, "event", p->event);
	if (st == ST_OK)
		st = cli_put_member(out, "key", p->key);
	if (st == ST_OK)
		st = cli_put_member(out, "trace", p->trace);
	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"data\":"));
	if (st == ST_OK)
		st = json ? jsontext_compact(out, data)
			  : jsontext_quote(out, data);
	return st == ST_OK ? buf_append(out, SPAN("}\n")) : st;
}

/* Is the data to go as JSON?  ST_INVALID (said): it cannot go at all. */
static enum status
judge(struct publish *p, uint64_t line, struct span data, bool *json)
{
	char why[96];
	size_t at = 0;
	enum status st = ST_INVALID;

	if (p->form != FORM_TEXT)
		st = jsontext_check(data, &at);
	*json = st == ST_OK;
	if (st == ST_OK)
		return ST_OK;
	if (p->form == FORM_JSON) {
		(void)snprintf(why, sizeof(why), "%s at byte %zu",
		    st == ST_TOOLARGE ? "nested too deeply" : "no valid JSON",
		    at);
		fail(p, line, why, "mend it, or publish it with --text");
		return ST_INVALID;
	}
	if (!utf8_ok(data)) {
		fail(p, line, "the data is not UTF-8",
		    "convert it with iconv(1)");
		return ST_INVALID;
	}
	return ST_OK;
}

static enum status
note_sent(struct publish *p, uint64_t line, struct span request)
{
	if (p->sent.n == 0)
		p->deadline_us = clock_mono_us() + p->timeout_us;
	return queue_put(&p->sent, line, request);
}

/* Queues one event; what is wrong with it is said and counted. */
static void
submit(struct publish *p, uint64_t line, struct span data)
{
	size_t before = p->link.out.len;
	bool json;
	enum status st;

	if (judge(p, line, data, &json) != ST_OK)
		return;
	st = put_request(p, &p->link.out, data, json);
	if (st == ST_OK)
		st = note_sent(p, line,
		    span_skip(buf_span(&p->link.out), before));
	if (st != ST_OK) {
		buf_truncate(&p->link.out, before);
		fail(p, line, "cannot make the request", status_name(st));
	}
}

/* ---- answers ------------------------------------------------------------- */

static const char *
text_of(const struct json *answer, const char *name, char out[256])
{
	struct span s = json_text(json_get(answer, name));

	(void)snprintf(out, 256, "%.*s", (int)(s.len > 255 ? 255 : s.len),
	    s.p == NULL ? "" : s.p);
	return out;
}

static size_t
n_put_off(const struct publish *p)
{
	return p->refused.n + p->again.n;
}

static void
stored(struct publish *p, int64_t id)
{
	p->n_acked++;
	p->n_stored++;
	if (p->limit < WINDOW)
		p->limit++;
	p->give_up_us = 0;
	(void)printf("%" PRId64 "\n", id);
}

/*
 * The oldest request was refused for now: is it to be sent again later?  Not
 * when none was stored for the whole time-out.
 */
static bool
put_off(struct publish *p, const struct json *answer)
{
	uint64_t now_us = clock_mono_us();
	int64_t retry_ms = 0;

	if (!json_int(json_get(answer, "retry_ms"), &retry_ms) || retry_ms < 1)
		return false;
	if (p->give_up_us == 0)
		p->give_up_us = now_us + p->timeout_us;
	if (now_us >= p->give_up_us ||
	    (uint64_t)retry_ms > (p->give_up_us - now_us) / 1000)
		return false;
	if (p->refused.n == 0) {
		p->pause_us = (uint64_t)retry_ms * 1000;
		p->limit = p->n_stored > 0 ? p->n_stored : 1;
		if (p->limit > WINDOW)
			p->limit = WINDOW;
	}
	return queue_put(&p->refused, queue_line(&p->sent),
		   queue_text(&p->sent)) == ST_OK;
}

/* The answer to the oldest request.  ST_INVALID: pubd speaks in riddles. */
static enum status
take_answer(struct publish *p, struct span line)
{
	struct json *answer = NULL;
	char code[256], message[256];
	struct errmsg err;
	int64_t id = 0;
	enum status st;

	if (p->sent.n == 0)
		return ST_INVALID;
	st = json_parse(p->parser, line, &answer, &err);
	if (st != ST_OK)
		return st;
	if (json_true(json_get(answer, "ok"))) {
		if (json_int(json_get(answer, "id"), &id))
			stored(p, id);
		else
			st = ST_INVALID;
	} else if (!put_off(p, answer)) {
		fail(p, queue_line(&p->sent), text_of(answer, "error", code),
		    text_of(answer, "message", message));
	}
	json_free(&answer);
	queue_drop(&p->sent);
	p->deadline_us = clock_mono_us() + p->timeout_us;
	return st;
}

static enum status
take_answers(struct publish *p)
{
	struct span line;
	enum status st = cli_link_receive(&p->link);

	if (st != ST_OK)
		return st == ST_AGAIN ? ST_OK : st;
	while (st == ST_OK && cli_link_line(&p->link, &line) == ST_OK)
		st = take_answer(p, line);
	return st;
}

/* ---- the river ------------------------------------------------------------
 */

static bool
has_room(const struct publish *p)
{
	return p->sent.n < p->limit && p->sent.text.len < WINDOW_BYTES;
}

/*
 * Nothing is on its way: what was refused may go again.  No more at once than
 * came through before, and one more for each that does, so that pubd is not
 * kept busy with refusing.
 */
static enum status
send_again(struct publish *p)
{
	struct queue *q = &p->again;
	enum status st = put_before(&p->refused, q);

	if (p->pause_us > 0)
		cli_pause_us(p->pause_us);
	p->pause_us = 0;
	p->n_stored = 0;
	while (st == ST_OK && q->n > 0 && has_room(p)) {
		st = buf_append(&p->link.out, queue_text(q));
		if (st == ST_OK)
			st = note_sent(p, queue_line(q), queue_text(q));
		queue_drop(q);
	}
	return st;
}

/* Makes requests of the lines that are there, as long as there is room. */
static void
submit_lines(struct publish *p, struct cli_lines *in, bool *more)
{
	struct span line;
	enum status st = ST_OK;

	while (has_room(p)) {
		st = cli_lines_next(in, &line);
		if (st == ST_OK)
			submit(p, in->number, line);
		else if (st == ST_TOOLARGE)
			fail(p, in->number, "too_large",
			    "the line is longer than max_line_bytes");
		else
			break;
	}
	*more = st != ST_END;
}

/*
 * Waits until pubd or standard input can go on, and lets it.
 *
 * in       NULL when there is nothing more to read
 * Returns  ST_OK; ST_AGAIN: pubd took too long; else the connection or
 *          standard input failed
 */
static enum status
turn(struct publish *p, struct cli_lines *in)
{
	struct pollfd fds[2] = {
	    {.fd = p->link.fd, .events = POLLIN},
	    {.fd = in != NULL && has_room(p) ? in->fd : -1, .events = POLLIN},
	};
	enum status st = cli_link_flush(&p->link);
	int wait_ms = -1;

	if (st == ST_AGAIN)
		fds[0].events |= POLLOUT;
	else if (st != ST_OK)
		return st;
	if (p->sent.n > 0)
		wait_ms = cli_link_poll_ms(p->deadline_us);
	/* The ids may have no reader any more; the events go on. */
	status_ignore(cli_write(SPAN_NONE));
	if (poll(fds, 2, wait_ms) < 0)
		return errno == EINTR ? ST_OK : ST_IO;
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		st = take_answers(p);
	else if (p->sent.n > 0 && clock_mono_us() >= p->deadline_us)
		return ST_AGAIN;
	else
		st = ST_OK;
	if (st == ST_OK && fds[1].revents != 0)
		st = cli_lines_read(in);
	return st;
}

/*
 * pubd closes a connection that was silent from its begin on, when input comes
 * late: nothing is lost, and there is no fault in it.
 */
static enum status
reopen(struct publish *p)
{
	size_t max_out = p->link.out.max;
	struct errmsg err = {""};
	uint64_t now_us = clock_mono_us();

	if (p->sent.n > 0 || n_put_off(p) > 0 || p->link.out.len > 0 ||
	    now_us - p->opened_us < REOPEN_US)
		return ST_END;
	cli_link_close(&p->link);
	p->opened_us = now_us;
	return cli_link_open(&p->link, p->socket, max_out,
		   now_us + p->timeout_us, &err) == ST_OK
	    ? ST_OK
	    : ST_END;
}

/* in   where more events come from, or NULL: only answers are awaited */
static enum status
flow(struct publish *p, struct cli_lines *in)
{
	enum status st = ST_OK;
	bool more = in != NULL;

	for (;;) {
		if (p->sent.n == 0 && n_put_off(p) > 0)
			st = send_again(p);
		else if (more && n_put_off(p) == 0)
			submit_lines(p, in, &more);
		if (!more && p->sent.n == 0 && n_put_off(p) == 0)
			return ST_OK;
		if (st == ST_OK)
			st = turn(p,
			    more && !in->end && n_put_off(p) == 0 ? in : NULL);
		if (st == ST_END)
			st = reopen(p);
		if (st != ST_OK)
			return st;
	}
}

/* ---- the command -----------------------------------------------------------
 */

/* Says why it broke off, and what became of the rest. */
static void
broke_off(struct publish *p, enum status st)
{
	const char *why = status_name(st);

	if (st == ST_AGAIN)
		why = "pubd did not answer in time: look at its log, or "
		      "raise --timeout";
	else if (st == ST_END)
		why = "pubd closed the connection: look at its log";
	else if (st == ST_INVALID || st == ST_FULL)
		why = "the answer is not pubd's: check `socket`";
	else if (st == ST_IO)
		why = strerror(errno);
	cli_say("%s", why);
	p->n_failed += n_put_off(p); /* refused, and not sent again */
	if (p->lines && p->sent.n > 0)
		cli_say("%" PRIu64 " events are stored; line %" PRIu64
			" and what follows may be stored or not",
		    p->n_acked, queue_line(&p->sent));
	else if (p->sent.n > 0)
		cli_say("the event may be stored or not: publish it with a "
			"key (-k) to be able to repeat it");
}

static enum status
feed(struct publish *p, const char *data, size_t max_bytes)
{
	struct cli_lines in;
	struct span all;
	enum status st = ST_OK;

	cli_lines_init(&in, STDIN_FILENO, max_bytes);
	if (p->lines) {
		st = flow(p, &in);
	} else if (data != NULL) {
		submit(p, 0, span_str(data));
		st = flow(p, NULL);
	} else {
		st = cli_lines_all(&in, &all);
		if (st == ST_OK)
			submit(p, 0, all);
		if (st == ST_TOOLARGE)
			fail(p, 0, "too_large",
			    "standard input is longer than max_line_bytes");
		if (st == ST_OK || st == ST_TOOLARGE)
			st = flow(p, NULL);
	}
	cli_lines_fini(&in);
	return st;
}

static enum cli_exit
publish(struct publish *p, const struct cli *cli, const char *data)
{
	size_t max_bytes = (size_t)cli->conf.max_line_bytes;
	/* Each byte of data takes six at most ("\u0001"). */
	size_t max_request = WINDOW_BYTES + 8192 + 6 * max_bytes;
	struct errmsg err = {""};
	enum cli_exit code = CLI_OK;
	enum status st;

	queue_init(&p->sent, max_request);
	queue_init(&p->refused, max_request);
	queue_init(&p->again, max_request);
	p->socket = cli->conf.socket;
	p->opened_us = clock_mono_us();
	st = cli_link_open(&p->link, cli->conf.socket, max_request,
	    clock_mono_us() + p->timeout_us, &err);
	if (st != ST_OK) {
		cli_say("%s%s", err.text,
		    st == ST_NOTFOUND
			? " Start it, or set `socket` to where it listens"
			: st == ST_BUSY
			? " (pubd does not accept): look at its "
			  "log"
			: "");
		return CLI_UNAVAILABLE;
	}
	st = json_parser_new(&p->parser);
	if (st == ST_OK)
		st = feed(p, data, max_bytes);
	if (st != ST_OK) {
		broke_off(p, st);
		code = CLI_UNAVAILABLE;
	} else if (p->n_failed > 0) {
		code = CLI_FAILED;
	}
	if (p->lines && p->n_failed > 0)
		cli_say("%" PRIu64 " events are stored, %" PRIu64 " are not",
		    p->n_acked, p->n_failed);
	json_parser_free(&p->parser);
	buf_fini(&p->sent.text);
	buf_fini(&p->refused.text);
	buf_fini(&p->again.text);
	cli_link_close(&p->link);
	return cli_finish(code);
}

static bool
names_ok(const struct publish *p)
{
	struct traceparent trace;

	if (p->channel.p == NULL)
		cli_say("-c CHANNEL is missing");
	else if (!name_channel_ok(p->channel) || name_reserved(p->channel))
		cli_say("\"%s\" is not a channel: 1 to 128 of A-Z a-z 0-9 "
			"_ . : / -, not beginning with system. or control.",
		    p->channel.p);
	else if (p->event.p != NULL && !name_event_ok(p->event))
		cli_say("\"%s\" is not an event type: 1 to 128 bytes of "
			"UTF-8, no control characters, not beginning with "
			"system. or control.",
		    p->event.p);
	else if (p->key.p != NULL && !name_key_ok(p->key))
		cli_say("\"%s\" is not a key: 1 to 128 bytes of UTF-8, no "
			"control characters",
		    p->key.p);
	else if (p->trace.p != NULL &&
	    traceparent_parse(p->trace, &trace) != ST_OK)
		cli_say("\"%s\" is not a W3C traceparent: "
			"00-<32 hex>-<16 hex>-<2 hex>",
		    p->trace.p);
	else if (p->lines && p->key.p != NULL)
		cli_say("-k with --lines would make one event of all lines: "
			"leave one of them out");
	else
		return true;
	return false;
}

static bool
set_option(struct publish *p, int o)
{
	int64_t seconds;

	switch (o) {
	case 'c':
		p->channel = span_str(optarg);
		break;
	case 'e':
		p->event = span_str(optarg);
		break;
	case 'k':
		p->key = span_str(optarg);
		break;
	case 't':
		p->trace = span_str(optarg);
		break;
	case 'l':
		p->lines = true;
		break;
	case OPT_JSON:
		p->form = FORM_JSON;
		break;
	case OPT_TEXT:
		p->form = FORM_TEXT;
		break;
	default: /* OPT_TIMEOUT */
		if (!cli_number("--timeout", optarg, 1, MAX_TIMEOUT_S,
			&seconds))
			return false;
		p->timeout_us = (uint64_t)seconds * 1000000;
		break;
	}
	return true;
}

static enum cli_exit
run(const struct cli *cli, int argc, char **argv)
{
	static struct publish p = {
	    .link = {.fd = -1},
	    .timeout_us = TIMEOUT_S * UINT64_C(1000000),
	    .limit = WINDOW,
	};
	const char *data = NULL;
	int o;

	while (
	    (o = getopt_long(argc, argv, "c:e:k:t:lh", options, NULL)) != -1) {
		if (o == 'h' || o == '?')
			return cli_usage(o);
		if (!set_option(&p, o))
			return CLI_USAGE;
	}
	if (optind < argc && strcmp(argv[optind], "-") != 0)
		data = argv[optind];
	if (argc - optind > 1 || (p.lines && data != NULL)) {
		cli_say("\"%.80s\" is not expected here: quote data that "
			"holds spaces",
		    argv[argc - 1]);
		return cli_usage('?');
	}
	if (!names_ok(&p))
		return cli_usage('?');
	return publish(&p, cli, data);
}

const struct cli_command cli_publish = {
    .name = "publish",
    .summary = "hand events to pubd",
    .help = help_text,
    .run = run,
};
