/* SPDX-License-Identifier: MIT */
/* Not there so far: every question ends as UNREACHABLE. */
#include "authorizer.h"

#include <stdlib.h>

struct authorizer_answer *
authorizer_ref(struct authorizer_answer *a)
{
	a->refs++;
	return a;
}

void
authorizer_unref(struct authorizer_answer **a)
{
	if (*a != NULL && --(*a)->refs == 0)
		free(*a);
	*a = NULL;
}

void
authorizer_cancel(struct authorizer_wait **wait)
{
	*wait = NULL;
}

enum status
authorizer_ask(struct authorizer *a, const struct authorizer_question *q,
    bool fresh, void (*done)(void *arg, struct authorizer_answer *answer),
    void *arg, struct authorizer_wait **wait)
{
	(void)a;
	(void)q;
	(void)fresh;
	(void)done;
	(void)arg;
	*wait = NULL;
	return ST_NOMEM;
}

void
authorizer_forget(struct authorizer *a, struct span user)
{
	(void)a;
	(void)user;
}

enum status
authorizer_new(struct authorizer **out, struct loop *l, const struct conf *c)
{
	(void)l;
	(void)c;
	*out = NULL;
	return ST_OK;
}

void
authorizer_free(struct authorizer **a)
{
	*a = NULL;
}

const struct authorizer_counters *
authorizer_counters(const struct authorizer *a)
{
	static const struct authorizer_counters none;

	(void)a;
	return &none;
}
