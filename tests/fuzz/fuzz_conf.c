/* SPDX-License-Identifier: MIT */
/*
 * Any file is read or refused with a reason; what was read is within the
 * table's ranges, and its dump reads back as the same.
 */
#include "conf.h"

#include <string.h>

#include "fuzz.h"
#include "name.h"

static void
check_ranges(const struct conf *c)
{
	const struct conf_row *row;
	int n;

	for (row = conf_rows; row->key != NULL; row++) {
		const char *member = (const char *)c + row->offset;
		int64_t v = 0;

		if (row->type == CONF_TEXT || row->type == CONF_STRING ||
		    row->type == CONF_PATH) {
			MUST(memchr(member, '\0', row->size) != NULL);
			continue;
		}
		memcpy(&v, member, sizeof(v));
		if (row->type != CONF_ENUM) {
			MUST(v >= row->min && v <= row->max);
			continue;
		}
		for (n = 0; row->values[n] != NULL; n++)
			continue;
		MUST(v >= 0 && v < n);
	}
}

static void
check_channels(const struct conf *c)
{
	struct span rest = span_str(c->default_channel), part;

	while (rest.len > 0 && span_cut(&rest, ',', &part))
		MUST(name_pattern_ok(part));
}

static void
dump_and_read(const struct conf *c)
{
	struct errmsg err = {""};
	struct conf want, again;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	MUST(out != NULL);
	conf_dump(c, out);
	MUST(fclose(out) == 0);
	conf_defaults(&again);
	MUST(conf_parse(&again, span_of(text, n), "dump", &err) == ST_OK);
	want = *c;
	if (strpbrk(c->otlp_endpoint, "@?") != NULL) { /* it is concealed */
		memset(want.otlp_endpoint, 0, sizeof(want.otlp_endpoint));
		memset(again.otlp_endpoint, 0, sizeof(again.otlp_endpoint));
	}
	MUST(memcmp(&want, &again, sizeof(again)) == 0);
	free(text);
}

/* The first line as the only variable. */
static void
try_environment(struct span text)
{
	char variable[256] = "WALCAST_";
	char *env[] = {variable, NULL};
	struct errmsg err = {""};
	struct conf c;
	size_t n = text.len < 200 ? text.len : 200;

	if (n > 0)
		memcpy(variable + 8, text.p, n);
	conf_defaults(&c);
	if (conf_environment(&c, env, &err) != ST_OK)
		MUST(strstr(err.text, "WALCAST_") != NULL);
	check_ranges(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_span(data, size);
	struct errmsg err = {""};
	struct conf c, before;

	try_environment(text);
	conf_defaults(&c);
	before = c;
	if (conf_parse(&c, text, "file", &err) != ST_OK) {
		MUST(memcmp(&c, &before, sizeof(c)) == 0);
		MUST(strncmp(err.text, "file:", 5) == 0);
		return 0;
	}
	check_ranges(&c);
	check_channels(&c);
	/* The unused ends of text members differ; a copy has none. */
	dump_and_read(&c);
	return 0;
}
