/* SPDX-License-Identifier: MIT */
/* A fixture of metrics that were scraped, and room for a text of them. */
#ifndef WALCAST_SCRAPED_H
#define WALCAST_SCRAPED_H

#include <stdlib.h>

#include "buf.h"
#include "aggregate.h"

#define NOW 1000000

struct fixture {
	struct aggregate *m;
	struct buf out;
};

static inline int
scraped_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	buf_init(&f->out, 1 << 20);
	*state = f;
	return aggregate_new(&f->m, NOW) == ST_OK ? 0 : -1;
}

static inline int
scraped_teardown(void **state)
{
	struct fixture *f = *state;

	aggregate_free(&f->m);
	buf_fini(&f->out);
	free(f);
	return 0;
}

#endif
