/* SPDX-License-Identifier: MIT */
/*
 * Judges each block of each stream; see sseload.h.
 *
 * Names that begin "control." or "system." are the server's own: their ids
 * are positions, as is an id on a block without data.  Everything else with
 * data is an event.
 */
#include <string.h>

#include "sseload.h"
#include "tool.h"

#define UNUSED_ID UINT64_MAX

void
check_fault(struct stream *s, enum fault f, uint64_t id, const char *what)
{
	struct worker_metrics *t = &s->load->worker_metrics;
	const struct order *o = &s->order;

	t->faults[f]++;
	if (f == FAULT_CONTROL_GAP && s->load->conf.allow_gaps)
		return;
	if (t->violations++ >= LOAD_MAX_SHOWN)
		return;
	fprintf(stderr, "sseload: stream %zu, connection %u: %s: %s", s->number,
	    s->n_connects, order_fault_name(f), what);
	if (id != UNUSED_ID)
		fprintf(stderr, " %llu", (unsigned long long)id);
	fprintf(stderr,
	    "; now at position %llu, newest event %llu, expected %llu, "
	    "%llu events so far\n",
	    (unsigned long long)o->pos, (unsigned long long)o->last,
	    (unsigned long long)(o->dense ? o->base + 1 : 0),
	    (unsigned long long)o->n_events);
}

void
check_opened(struct stream *s)
{
	struct load *l = s->load;

	if (s->is_open)
		return;
	s->is_open = true;
	l->worker_metrics.opened++;
	if (s->was_open)
		return;
	s->was_open = true;
	l->n_open++;
}

void
check_done(struct stream *s)
{
	if (s->done)
		return;
	s->done = true;
	s->load->n_done++;
	s->must_close = s->load->conf.close_done;
}

static void
count_name(struct name_count *table, const char *name, size_t len)
{
	size_t i;

	if (len >= sizeof(table->name))
		len = sizeof(table->name) - 1;
	for (i = 0; i < LOAD_MAX_NAMES - 1 && table[i].n > 0; i++) {
		if (strlen(table[i].name) == len &&
		    memcmp(table[i].name, name, len) == 0)
			break;
	}
	if (table[i].n++ == 0) {
		memcpy(table[i].name, name, len);
		table[i].name[len] = '\0';
	}
}

static void
put_json_text(FILE *out, struct wire_text t)
{
	size_t i;
	unsigned char c;

	fputc('"', out);
	for (i = 0; i < t.len; i++) {
		c = (unsigned char)t.p[i];
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void
dump_block(FILE *out, const struct stream *s, const struct wire_block *b)
{
	fprintf(out, "{\"stream\":%zu,\"connection\":%u", s->number,
	    s->n_connects);
	if (b->has_id) {
		fputs(",\"id\":", out);
		put_json_text(out, b->id);
	}
	if (b->event.len > 0) {
		fputs(",\"event\":", out);
		put_json_text(out, b->event);
	}
	if (b->has_data) {
		fputs(",\"data\":", out);
		put_json_text(out, b->data);
	}
	if (b->has_retry)
		fprintf(out, ",\"retry\":%llu",
		    (unsigned long long)b->retry_ms);
	fputs("}\n", out);
}

static bool
text_is(struct wire_text t, const char *word)
{
	return t.len == strlen(word) && memcmp(t.p, word, t.len) == 0;
}

static bool
starts(struct wire_text t, const char *word)
{
	size_t n = strlen(word);

	return t.len >= n && memcmp(t.p, word, n) == 0;
}

/* Without integer ids only the text of the last one is kept. */
static void
keep_id_text(struct stream *s, const struct wire_block *b)
{
	s->last_id_len = b->id.len;
	memcpy(s->last_id, b->id.p, b->id.len);
}

static bool
parse_id(struct stream *s, struct wire_text t, uint64_t *id)
{
	size_t used;

	*id = tool_digits(t.p, t.len, &used);
	if (used > 0 && used == t.len) {
		s->last_id_len = 0; /* the number in `order` is meant */
		return true;
	}
	check_fault(s, FAULT_BAD_ID, UNUSED_ID, "not a decimal integer");
	return false;
}

static void
check_data(struct stream *s, struct wire_text data)
{
	struct load *l = s->load;
	const struct conf *c = &l->conf;
	uint64_t v;

	if (c->latency != NULL) {
		if (!tool_json_u64(data.p, data.len, c->latency, &v) ||
		    v > l->now_us)
			l->worker_metrics.no_time++;
		else
			hist_add(s->slow ? &l->worker_metrics.slow
					 : &l->worker_metrics.fast,
			    l->now_us - v);
	}
	if (!c->seq)
		return;
	if (!tool_json_u64(data.p, data.len, "s", &v))
		check_fault(s, FAULT_SEQ, UNUSED_ID, "no \"s\" in the data");
	else if (order_seq(&s->order, v) != FAULT_NONE)
		check_fault(s, FAULT_SEQ, v, "number out of turn:");
}

static void
check_event(struct stream *s, const struct wire_block *b)
{
	struct load *l = s->load;
	const struct conf *c = &l->conf;
	enum fault f;
	uint64_t id = 0;

	l->worker_metrics.events++;
	if (l->worker_metrics.first_us == 0)
		l->worker_metrics.first_us = l->now_us;
	l->worker_metrics.last_us = l->now_us;
	if (!s->is_open && !c->open_on_head)
		check_fault(s, FAULT_NO_OPEN, UNUSED_ID,
		    "an event before control.open");
	if (!c->ids) {
		s->order.n_events++;
		if (b->has_id)
			keep_id_text(s, b);
	} else if (!b->has_id) {
		check_fault(s, FAULT_NO_ID, UNUSED_ID, "an event without id");
	} else if (parse_id(s, b->id, &id)) {
		f = order_event(&s->order, id);
		if (f != FAULT_NONE)
			check_fault(s, f, id, "event");
	}
	check_data(s, b->data);
	if ((c->until_id > 0 && id >= c->until_id) ||
	    (c->until_position > 0 && id >= c->until_position) ||
	    (c->until_events > 0 && s->order.n_events >= c->until_events))
		check_done(s);
}

static void
check_gap(struct stream *s, const struct wire_block *b, bool has_id,
    uint64_t id)
{
	struct worker_metrics *t = &s->load->worker_metrics;
	const char *code;
	uint64_t lost;
	size_t len;

	t->control_gap++;
	if (tool_json_u64(b->data.p, b->data.len, "lost", &lost))
		t->gap_lost += lost;
	if (tool_json_str(b->data.p, b->data.len, "code", &code, &len))
		count_name(t->gap_codes, code, len);
	check_fault(s, FAULT_CONTROL_GAP, id, "control.gap to");
	if (has_id)
		order_gap(&s->order, id);
}

static void
check_control(struct stream *s, const struct wire_block *b)
{
	struct worker_metrics *t = &s->load->worker_metrics;
	const char *reason;
	size_t len;

	if (text_is(b->event, "control.close")) {
		if (!tool_json_str(b->data.p, b->data.len, "reason", &reason,
			&len)) {
			reason = "none";
			len = 4;
		}
		count_name(t->close_reasons, reason, len);
	} else if (text_is(b->event, "control.open")) {
		t->control_open++;
		check_opened(s);
	} else if (text_is(b->event, "system.heartbeat"))
		t->heartbeats++;
	else
		t->control_other++;
}

static void
check_position(struct stream *s, const struct wire_block *b)
{
	const struct conf *c = &s->load->conf;
	bool open = b->has_data && text_is(b->event, "control.open");
	bool gap = b->has_data && text_is(b->event, "control.gap");
	bool has_id = b->has_id && c->ids;
	uint64_t id = UNUSED_ID;
	enum fault f;

	if (b->has_id && !c->ids)
		keep_id_text(s, b);
	if (has_id && !parse_id(s, b->id, &id)) {
		has_id = false;
		id = UNUSED_ID;
	}
	if (gap)
		check_gap(s, b, has_id, id);
	else if (has_id && open)
		order_open(&s->order, id);
	else if (has_id && (f = order_position(&s->order, id)) != FAULT_NONE)
		check_fault(s, f, id, "position");
	if (b->has_data && !gap)
		check_control(s, b);
	if (has_id && c->until_position > 0 && id >= c->until_position)
		check_done(s);
}

void
check_block(void *arg, const struct wire_block *b)
{
	struct stream *s = arg;

	if (s->load->dump != NULL)
		dump_block(s->load->dump, s, b);
	if (b->has_retry)
		s->retry_ms = b->retry_ms;
	if (b->has_data && !starts(b->event, "control.") &&
	    !starts(b->event, "system."))
		check_event(s, b);
	else if (b->has_id || b->has_data)
		check_position(s, b);
}
