/* SPDX-License-Identifier: MIT */
/*
 * Channels that are counted: a list, looked through from its front.  Names
 * need no escapes in JSON (name_channel_ok).  Pure.
 */
#include "counted.h"

#include <string.h>

/* The place of a channel in the list, or its end. */
static size_t
counted_find(const struct counted *k, struct span channel)
{
	size_t i;

	for (i = 0; i < k->n; i++)
		if (k->list[i].len == channel.len &&
		    memcmp(k->list[i].name, channel.p, channel.len) == 0)
			break;
	return i;
}

static enum status
name_one(struct counted *k, struct span channel)
{
	size_t i = counted_find(k, channel);

	if (i == COUNTED_MAX)
		return ST_FULL;
	if (i == k->n) {
		memcpy(k->list[i].name, channel.p, channel.len);
		k->list[i].len = (unsigned char)channel.len;
		k->n++;
	}
	k->list[i].is_named = true;
	return ST_OK;
}

enum status
counted_name(struct counted *k, struct span names)
{
	enum status st = ST_OK;
	struct span channel;
	size_t i;

	for (i = 0; i < k->n; i++)
		k->list[i].is_named = false;
	while (st == ST_OK && span_cut(&names, ',', &channel)) {
		channel = span_trim(channel);
		if (name_channel_ok(channel))
			st = name_one(k, channel);
	}
	return st;
}

void
counted_add(struct counted *k, struct span channel)
{
	size_t i = counted_find(k, channel);

	if (i < k->n && k->list[i].is_named)
		k->list[i].n++;
}

static bool
ends_in(struct span s, char byte)
{
	return s.p != NULL && s.len > 0 && s.p[s.len - 1] == byte;
}

enum status
counted_write(const struct counted *k, struct buf *out)
{
	bool first = ends_in(buf_span(out), '{');
	size_t start = out->len, i;

	for (i = 0; i < k->n; i++) {
		buf_addf(out, "%s\"channel:%.*s\":%llu", first ? "" : ",",
		    (int)k->list[i].len, k->list[i].name,
		    (unsigned long long)k->list[i].n);
		first = false;
	}
	return buf_finish(out, start);
}
