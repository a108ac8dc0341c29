/* SPDX-License-Identifier: MIT */
/*
 * nchanpub: publishes to an HTTP publisher location (Nchan's) over one
 * keep-alive connection, with a number of requests under way.  The data is
 * what `pubload --stamp` sends: {"t":microseconds,"s":number,"p":padding}.
 * Blocks only in poll().
 *
 * Exit status: 0 every request was answered 2xx; 1 not; 2 usage or set-up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hist.h"
#include "tool.h"

#define IN_BYTES   65536
#define MAX_WINDOW 65536
#define FRAME      1024

struct nchan {
	struct sockaddr_in addr;
	const char *path;
	uint64_t n_events;
	uint64_t window;
	size_t data_bytes;
	double rate;
	double max_s;
	int fd;
	char *pad;
	char *out; /* one turn's requests */
	size_t out_len;
	size_t out_at;
	char in[IN_BYTES];
	size_t in_len;
	uint64_t sent;
	uint64_t answered;
	uint64_t not_2xx;
	uint64_t start_us;
	uint64_t sent_us[MAX_WINDOW];
	struct hist hist;
};

enum {
	OPT_URL = 1,
	OPT_EVENTS,
	OPT_SIZE,
	OPT_RATE,
	OPT_PIPELINE,
	OPT_MAX_TIME,
};

static const struct tool_opt opts[] = {
    {OPT_URL, "url", "URL", "http://A.B.C.D:PORT/path of the publisher"},
    {OPT_EVENTS, "events", "N", "how many (default 1000)"},
    {OPT_SIZE, "size", "BYTES", "of data in each (default 200)"},
    {OPT_RATE, "rate", "R", "events per second (0: as fast as answered)"},
    {OPT_PIPELINE, "pipeline", "P", "requests under way (default 1)"},
    {OPT_MAX_TIME, "max-time", "S", "hard stop (default 120)"},
    {0, NULL, NULL, NULL},
};

static void
parse_url(struct nchan *c, const char *url)
{
	char host[64];
	unsigned port;
	int used = 0;

	if (sscanf(url, "http://%63[0-9.]:%u%n", host, &port, &used) != 2 ||
	    url[used] != '/' || port > 65535)
		tool_die("%s: want http://A.B.C.D:PORT/path", url);
	c->addr.sin_family = AF_INET;
	c->addr.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &c->addr.sin_addr) != 1)
		tool_die("%s: not an address", host);
	c->path = url + used;
}

static void
parse(struct nchan *c, char **argv)
{
	const char *arg;
	int id, at = 1;

	c->n_events = 1000;
	c->window = 1;
	c->data_bytes = 200;
	c->max_s = 120;
	while ((id = tool_next_opt("nchanpub", opts, argv, &at, &arg)) != 0) {
		if (id == OPT_URL)
			parse_url(c, arg);
		else if (id == OPT_EVENTS)
			c->n_events = tool_u64("--events", arg);
		else if (id == OPT_SIZE)
			c->data_bytes = tool_u64("--size", arg);
		else if (id == OPT_RATE)
			c->rate = tool_double("--rate", arg);
		else if (id == OPT_PIPELINE)
			c->window = tool_u64("--pipeline", arg);
		else
			c->max_s = tool_double("--max-time", arg);
	}
	if (c->path == NULL || c->window == 0 || c->window > MAX_WINDOW ||
	    c->data_bytes > (size_t)1 << 20)
		tool_die("nchanpub: --url is needed, numbers in range");
}

static void
set_up(struct nchan *c)
{
	size_t i;

	c->pad = tool_alloc(1, c->data_bytes + 1);
	for (i = 0; i < c->data_bytes; i++)
		c->pad[i] = (char)('a' + i % 26);
	c->out = tool_alloc(c->window, FRAME + c->data_bytes);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    connect(c->fd, (struct sockaddr *)&c->addr, sizeof(c->addr)) != 0)
		tool_die("connect: %s", strerror(errno));
}

static void
put_request(struct nchan *c, uint64_t now_us)
{
	char data[128];
	size_t len, pad;

	len = (size_t)snprintf(data, sizeof(data),
	    "{\"t\":%llu,\"s\":%llu,"
	    "\"p\":\"",
	    (unsigned long long)now_us, (unsigned long long)c->sent);
	pad = c->data_bytes > len + 2 ? c->data_bytes - len - 2 : 0;
	c->out_len += (size_t)snprintf(c->out + c->out_len,
	    FRAME + c->data_bytes,
	    "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
	    "Content-Length: %zu\r\n\r\n%s%.*s\"}",
	    c->path, len + pad + 2, data, (int)pad, c->pad);
	c->sent_us[c->sent++ % c->window] = now_us;
}

static void
fill(struct nchan *c, uint64_t now_us)
{
	uint64_t may = c->n_events;

	if (c->rate > 0)
		may = (uint64_t)((double)(now_us - c->start_us) / 1e6 *
			  c->rate) +
		    1;
	if (may > c->n_events)
		may = c->n_events;
	while (c->sent < may && c->sent - c->answered < c->window)
		put_request(c, now_us);
}

static void
flush(struct nchan *c)
{
	ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
	    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		tool_die("send: %s", strerror(errno));
	c->out_at += n > 0 ? (size_t)n : 0;
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
}

/* The length of the whole response at p, or 0: not all of it is here. */
static size_t
whole_response(const char *p, size_t len)
{
	const char *end = memmem(p, len, "\r\n\r\n", 4), *cl;
	size_t head, body = 0, used;

	if (end == NULL)
		return 0;
	head = (size_t)(end - p) + 4;
	cl = memmem(p, head, "Content-Length: ", 16);
	if (cl != NULL)
		body = (size_t)tool_digits(cl + 16,
		    head - (size_t)(cl + 16 - p), &used);
	return len - head >= body ? head + body : 0;
}

static void
take_answers(struct nchan *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
	uint64_t now_us = tool_now_us();
	size_t at = 0, len;

	if (n <= 0)
		tool_die("the server closed the connection");
	c->in_len += (size_t)n;
	while ((len = whole_response(c->in + at, c->in_len - at)) > 0) {
		if (len < 13 || c->in[at + 9] != '2')
			c->not_2xx++;
		hist_add(&c->hist,
		    now_us - c->sent_us[c->answered % c->window]);
		c->answered++;
		at += len;
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
	if (c->in_len == IN_BYTES)
		tool_die("an answer longer than %d bytes", IN_BYTES);
}

static void
turn(struct nchan *c)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

	if (c->out_len == 0)
		fill(c, tool_now_us());
	if (c->out_len > 0)
		flush(c);
	if (c->out_len > 0)
		pfd.events |= POLLOUT;
	if (poll(&pfd, 1, c->rate > 0 ? 1 : 50) < 0)
		tool_die("poll: %s", strerror(errno));
	if ((pfd.revents & ~POLLOUT) != 0)
		take_answers(c);
}

int
main(int argc, char **argv)
{
	static struct nchan c;
	uint64_t end_us;
	double s;

	(void)argc;
	parse(&c, argv);
	set_up(&c);
	c.start_us = tool_now_us();
	end_us = c.start_us + (uint64_t)(c.max_s * 1e6);
	while (c.answered < c.n_events && tool_now_us() < end_us)
		turn(&c);
	s = (double)(tool_now_us() - c.start_us) / 1e6;
	printf("{\"events\":%llu,\"acked\":%llu,\"not_2xx\":%llu,\"ack_us\":",
	    (unsigned long long)c.n_events, (unsigned long long)c.answered,
	    (unsigned long long)c.not_2xx);
	hist_print(&c.hist, stdout);
	printf(",\"elapsed_s\":%.3f,\"acks_per_s\":%.0f,\"cpu_s\":%.3f}\n", s,
	    s > 0 ? (double)c.answered / s : 0, tool_cpu_s());
	close(c.fd);
	free(c.pad);
	free(c.out);
	return c.answered == c.n_events && c.not_2xx == 0 ? 0 : 1;
}
