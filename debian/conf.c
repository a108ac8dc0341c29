/* SPDX-License-Identifier: MIT */
/*
 * Prints walcast.conf as the package ships it: every key of the table with
 * its sentence and its default, commented out, but for what the package's own
 * users need.  Blocks on nothing.
 */
#include <stdio.h>
#include <string.h>

#include "conf.h"

#define COLUMNS 76

/* As comment lines, broken at spaces. */
static void
comment(const char *text)
{
	size_t column = 0, n;

	for (; *text != '\0'; text += n + (text[n] == ' ')) {
		n = strcspn(text, " ");
		if (column == 0 || column + 1 + n > COLUMNS)
			column = (size_t)printf("%s# %.*s",
			    column == 0 ? "" : "\n", (int)n, text);
		else
			column += (size_t)printf(" %.*s", (int)n, text);
	}
	(void)printf("\n");
}

static void
values(const struct conf_row *row)
{
	int i;

	(void)printf("# One of:");
	for (i = 0; row->values[i] != NULL; i++)
		(void)printf("%s %s", i == 0 ? "" : ",", row->values[i]);
	(void)printf(".\n");
}

/* The workers of the package have a user of their own. */
static void
setting(const struct conf_row *row)
{
	if (strcmp(row->key, "report_users") == 0) {
		(void)printf("report_users = walcast-sse\n");
		return;
	}
	(void)printf("#%s =%s%s\n", row->key,
	    row->initial[0] == '\0' ? "" : " ", row->initial);
}

int
main(void)
{
	const struct conf_row *row;

	comment("Configuration of Walcast: pubd, the workers and walcast(1). "
		"See walcast.conf(5).");
	(void)printf("#\n");
	comment("Every key stands here with its default; report_users names "
		"the user of the package's workers. `pubd -n` checks this "
		"file. All read it again on reload, and name in the log what "
		"needs a restart: systemctl reload walcast walcast-sse "
		"walcast-metrics");
	for (row = conf_rows; row->key != NULL; row++) {
		(void)printf("\n");
		comment(row->sentence);
		if (row->type == CONF_ENUM)
			values(row);
		else if (row->unit[0] != '\0')
			(void)printf("# In %s.\n", row->unit);
		setting(row);
	}
	return 0;
}
