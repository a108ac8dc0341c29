/* SPDX-License-Identifier: MIT */
/* The catalogue as a table: a line for each family, its labels' values. */
#include "metrics_doc.h"

#include "metrics.h"

/* A bar would end the cell. */
static void
put_label(struct buf *out, const struct metric *family, size_t i)
{
	const char *separator = " ";

	if (family->label == NULL)
		return;
	buf_addf(out, "`%s`:", family->label);
	for (; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];

		if (e->source == METRIC_FAMILY)
			break;
		if (e->source == METRIC_HIDDEN)
			continue;
		if (e->value == NULL) {
			buf_add(out, SPAN(" any"));
			break;
		}
		buf_addf(out, "%s`%s`", separator, e->value);
		separator = ", ";
	}
}

static void
put_family(struct buf *out, size_t i)
{
	const struct metric *e = &metrics_catalogue[i];

	buf_addf(out, "| `%s` | %s | %s | ", e->name,
	    metrics_type_name(e->type), e->unit);
	put_label(out, e, i + 1);
	buf_addf(out, " | %s |\n", e->sentence);
}

enum status
metrics_doc_put(struct buf *out)
{
	size_t start = out->len, i;

	buf_add(out,
	    SPAN("| name | type | unit | label | what it tells |\n"
		 "|---|---|---|---|---|\n"));
	for (i = 0; i < metrics_catalogue_n; i++)
		if (metrics_catalogue[i].source == METRIC_FAMILY)
			put_family(out, i);
	return buf_finish(out, start);
}
