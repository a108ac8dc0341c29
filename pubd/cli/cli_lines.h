/* SPDX-License-Identifier: MIT */
/*
 * Standard input, line by line, in bounded memory.  A line ends with LF or
 * CRLF, the last one also with the end of the input.
 */
#ifndef WALCAST_CLI_LINES_H
#define WALCAST_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "linesplit.h"
#include "span.h"
#include "status.h"

struct cli_lines {
	int fd;
	size_t max_line; /* bytes */
	struct buf in;
	struct linesplit split;
	uint64_t number; /* of the line that was handed out last, from 1 */
	bool end;        /* nothing more will come */
	bool skipping;   /* the rest of a line that is too long */
};

void cli_lines_init(struct cli_lines *l, int fd, size_t max_line);
void cli_lines_fini(struct cli_lines *l);

/*
 * Reads once, blocking when nothing is there; sets l->end at the end.
 * Returns  ST_OK, ST_NOMEM, ST_IO
 */
MUST_USE enum status cli_lines_read(struct cli_lines *l);

/*
 * Reads to the end, as one piece, in which LF has no meaning.
 * Returns  ST_OK, ST_TOOLARGE (more than max_line), ST_NOMEM, ST_IO
 */
MUST_USE enum status cli_lines_all(struct cli_lines *l, struct span *all);

/*
 * The next line; valid until the next call.
 * Returns  ST_OK, ST_AGAIN (read more), ST_END, ST_TOOLARGE (the line is
 *          longer than max_line and is left out)
 */
MUST_USE enum status cli_lines_next(struct cli_lines *l, struct span *line);

#endif
