/* SPDX-License-Identifier: MIT */
/*
 * What jsontext accepts, json-c parses as well; walking gives checked values
 * that stand in the text; compact is idempotent and keeps the meaning; what
 * quote writes reads back as the same bytes.
 */
#include "jsontext.h"

#include "fuzz.h"
#include "json.h"
#include "name.h"
#include "utf8.h"

#define BOUND ((size_t)1 << 22)

static struct json_parser *parser;

static struct json *
parsed(struct span text)
{
	struct errmsg err = {""};
	struct json *root = NULL;

	if (parser == NULL)
		MUST(json_parser_new(&parser) == ST_OK);
	MUST(json_parse(parser, text, &root, &err) == ST_OK);
	return root;
}

static bool
inside(struct span text, struct span part)
{
	return part.p >= text.p && part.len > 0 &&
	    part.p + part.len <= text.p + text.len;
}

static void
check_value(struct span text, struct span value)
{
	size_t at;

	MUST(inside(text, value));
	MUST(jsontext_check(value, &at) == ST_OK);
}

/* Same type, same length, same text or number. */
static void
must_agree(const struct json *a, const struct json *b)
{
	int64_t i = 0, k = 0;
	size_t n;

	MUST(json_type(a) == json_type(b));
	MUST(json_count(a) == json_count(b));
	MUST(span_eq(json_text(a), json_text(b)));
	MUST(json_true(a) == json_true(b));
	MUST(json_int(a, &i) == json_int(b, &k) && i == k);
	for (n = 0; n < json_count(a); n++)
		must_agree(json_at(a, n), json_at(b, n));
}

static void
walk_array(struct span text, const struct json *root)
{
	struct span rest = text, value;
	size_t n = 0;

	while (jsontext_element(&rest, &value) == ST_OK) {
		struct json *element = parsed(value);

		check_value(text, value);
		must_agree(element, json_at(root, n));
		json_free(&element);
		n++;
	}
	MUST(n == json_count(root));
}

static void
walk_object(struct span text, const struct json *root)
{
	static const char *const names[] = {"a", "data", ""};
	struct span value;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (jsontext_member(text, span_str(names[i]), &value) ==
		    ST_OK) {
			check_value(text, value);
			MUST(json_get(root, names[i]) != NULL);
		}
}

static void
compact_twice(struct span text, const struct json *root)
{
	struct buf once, twice;
	struct json *again;
	size_t at;

	buf_init(&once, BOUND);
	buf_init(&twice, BOUND);
	jsontext_add_compact(&once, text);
	MUST(buf_status(&once) == ST_OK);
	MUST(once.len <= text.len);
	MUST(jsontext_check(buf_span(&once), &at) == ST_OK);
	jsontext_add_compact(&twice, buf_span(&once));
	MUST(buf_status(&twice) == ST_OK);
	MUST(span_eq(buf_span(&once), buf_span(&twice)));
	again = parsed(buf_span(&once));
	must_agree(root, again);
	json_free(&again);
	buf_fini(&once);
	buf_fini(&twice);
}

static void
quote_and_read(struct span bytes)
{
	struct buf quoted;
	struct json *root;
	size_t at;

	buf_init(&quoted, BOUND);
	jsontext_add_quoted(&quoted, bytes);
	MUST(buf_status(&quoted) == ST_OK);
	MUST(jsontext_check(buf_span(&quoted), &at) == ST_OK);
	root = parsed(buf_span(&quoted));
	MUST(json_type(root) == JSON_STRING);
	MUST(utf8_ok(json_text(root)));
	if (utf8_ok(bytes))
		MUST(span_eq(json_text(root), bytes));
	json_free(&root);
	buf_fini(&quoted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_span(data, size), value, rest = text;
	struct json *root;
	size_t at = SIZE_MAX;

	quote_and_read(text);
	if (jsontext_check(text, &at) != ST_OK) {
		MUST(at <= size);
		/* Nobody walks what was not checked; it must do no harm. */
		(void)!jsontext_member(text, SPAN("a"), &value);
		while (jsontext_element(&rest, &value) == ST_OK)
			continue;
		return 0;
	}
	MUST(at == size);
	root = parsed(text);
	compact_twice(text, root);
	if (json_type(root) == JSON_ARRAY)
		walk_array(text, root);
	if (json_type(root) == JSON_OBJECT)
		walk_object(text, root);
	json_free(&root);
	return 0;
}
