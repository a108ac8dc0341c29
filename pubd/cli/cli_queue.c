/* SPDX-License-Identifier: MIT */
/* Requests in their order, in a ring.  Blocks on nothing. */
#include "cli_queue.h"

void
cli_queue_init(struct cli_queue *q, size_t max_bytes)
{
	buf_init(&q->text, max_bytes);
	q->first = q->n = 0;
}

void
cli_queue_fini(struct cli_queue *q)
{
	buf_fini(&q->text);
	q->first = q->n = 0;
}

enum status
cli_queue_put(struct cli_queue *q, uint64_t line, struct span text)
{
	size_t at = (q->first + q->n) % CLI_QUEUE_MAX;
	enum status st = q->n < CLI_QUEUE_MAX ? buf_append(&q->text, text)
					      : ST_FULL;

	if (st != ST_OK)
		return st;
	q->list[at].line = line;
	q->list[at].len = text.len;
	q->n++;
	return ST_OK;
}

uint64_t
cli_queue_line(const struct cli_queue *q)
{
	return q->list[q->first].line;
}

struct span
cli_queue_text(const struct cli_queue *q)
{
	return span_of(buf_span(&q->text).p, q->list[q->first].len);
}

void
cli_queue_drop(struct cli_queue *q)
{
	buf_consume(&q->text, q->list[q->first].len);
	q->first = (q->first + 1) % CLI_QUEUE_MAX;
	q->n--;
}

enum status
cli_queue_put_before(struct cli_queue *q, struct cli_queue *rest)
{
	struct cli_queue both = *q;
	enum status st = ST_FULL;

	if (q->n <= CLI_QUEUE_MAX - rest->n)
		st = buf_append(&both.text, buf_span(&rest->text));
	if (st != ST_OK)
		return st;
	for (; rest->n > 0; rest->n--) {
		both.list[(both.first + both.n++) % CLI_QUEUE_MAX] =
		    rest->list[rest->first];
		rest->first = (rest->first + 1) % CLI_QUEUE_MAX;
	}
	*q = (struct cli_queue){.text = rest->text};
	buf_clear(&q->text);
	*rest = both;
	return ST_OK;
}
