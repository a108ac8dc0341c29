/* SPDX-License-Identifier: MIT */
/*
 * Lines to and from pubd; see pubwire.h.
 *
 * A single event carries "ref":"r<n>", which its answer must echo.  Event n
 * is the n-th of this run; "s" is its number on its channel, so that a
 * subscriber of one channel can check that it goes up by one.
 */
#include "pubwire.h"

#include <string.h>

#include "tool.h"

#define EVENT_FRAME 512 /* names and punctuation around the data */

size_t
pubwire_event_max(const struct pub_shape *shape)
{
	return EVENT_FRAME + shape->data_bytes +
	    (shape->channel != NULL ? strlen(shape->channel) : 0) +
	    (shape->keys != NULL ? strlen(shape->keys) : 0);
}

/* printf would be most of this program's work */
static char *
put_text(char *p, const char *text)
{
	size_t n = strlen(text);

	memcpy(p, text, n);
	return p + n;
}

static char *
put_number(char *p, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

static char *
put_data(const struct pub_shape *shape, const struct pub_request *r, uint64_t n,
    char *out)
{
	uint64_t seq = shape->channel != NULL ? n : n / shape->n_channels;
	size_t pad = shape->data_bytes, used;
	char *p = out;

	if (!shape->stamp) {
		*p++ = '"';
		memcpy(p, shape->pad, pad);
		p += pad;
		*p++ = '"';
		return p;
	}
	p = put_number(put_text(p, "{\"t\":"), r->t_us);
	p = put_number(put_text(p, ",\"s\":"), seq);
	p = put_text(p, ",\"p\":\"");
	used = (size_t)(p - out) + 2;
	pad = pad > used ? pad - used : 0;
	memcpy(p, shape->pad, pad);
	return put_text(p + pad, "\"}");
}

static char *
put_event(const struct pub_shape *shape, const struct pub_request *r,
    uint64_t n, char *p)
{
	if (shape->channel != NULL) {
		p = put_text(put_text(p, "{\"channel\":\""), shape->channel);
	} else {
		p = put_text(p, "{\"channel\":\"c");
		p = put_number(p, n % shape->n_channels);
	}
	if (shape->keys != NULL) {
		p = put_text(put_text(p, "\",\"key\":\""), shape->keys);
		*p++ = '-';
		p = put_number(p, n);
	}
	if (!shape->array)
		p = put_number(put_text(p, "\",\"ref\":\"r"), n);
	p = put_text(p, "\",\"data\":");
	p = put_data(shape, r, n, p);
	*p++ = '}';
	return p;
}

size_t
pubwire_request(const struct pub_shape *shape, const struct pub_request *r,
    char *out)
{
	char *p = out;
	uint32_t i;

	if (shape->array)
		*p++ = '[';
	for (i = 0; i < r->count; i++) {
		if (i > 0)
			*p++ = ',';
		p = put_event(shape, r, r->first + i, p);
	}
	if (shape->array)
		*p++ = ']';
	*p++ = '\n';
	return (size_t)(p - out);
}

static bool
ref_fits(const struct pub_shape *shape, const struct pub_request *r,
    const char *line, size_t len)
{
	const char *ref;
	size_t n, used;

	if (shape->array)
		return true;
	if (!tool_json_str(line, len, "ref", &ref, &n) || n < 2)
		return false;
	return *ref == 'r' && tool_digits(ref + 1, n - 1, &used) == r->first &&
	    used == n - 1;
}

static enum pub_answer_kind
take_error(const char *line, size_t len, struct pub_answer *a)
{
	const char *code;
	size_t n;

	if (!tool_json_str(line, len, "error", &code, &n))
		return PUB_NONSENSE;
	if (n >= sizeof(a->code))
		n = sizeof(a->code) - 1;
	memcpy(a->code, code, n);
	a->code[n] = '\0';
	return PUB_ERROR;
}

enum pub_answer_kind
pubwire_answer(const struct pub_shape *shape, const struct pub_request *r,
    const char *line, size_t len, struct pub_answer *a)
{
	const char *ids;

	memset(a, 0, sizeof(*a));
	if (!ref_fits(shape, r, line, len))
		return PUB_NONSENSE;
	if (memmem(line, len, "\"ok\":true", 9) == NULL)
		return take_error(line, len, a);
	if (shape->array) {
		ids = memmem(line, len, "\"ids\":[", 7);
		ids = ids != NULL ? ids + 7 : NULL;
	} else {
		ids = memmem(line, len, "\"id\":", 5);
		ids = ids != NULL ? ids + 5 : NULL;
	}
	if (ids == NULL)
		return PUB_NONSENSE;
	a->ids = ids;
	a->ids_len = (size_t)(line + len - ids);
	a->duplicate = memmem(line, len, "\"duplicate\":true", 16) != NULL;
	return PUB_OK;
}

bool
pubwire_next_id(struct pub_answer *a, uint64_t *id)
{
	size_t used;

	*id = tool_digits(a->ids, a->ids_len, &used);
	a->ids += used;
	a->ids_len -= used;
	if (used > 0 && a->ids_len > 0 && *a->ids == ',') {
		a->ids++;
		a->ids_len--;
	}
	return used > 0;
}
