/* SPDX-License-Identifier: MIT */
/*
 * libfcgi's parser on one whole request.
 *
 * FCGX_Accept_r would accept, poll and read without limit; given a descriptor
 * and a request that is there, it only parses.  A request cut short would be
 * reported as good, so the stream's error is asked for.  It asserts that it
 * is given memory, which would end all streams, so that is asked for, too.
 */
#include "fcgx.h"

#include <assert.h>
#include <fcgiapp.h>
#include <stdlib.h>

#include "record.h"

/* Less than malloc maps apart and gives back at once; more than libfcgi takes
 * for a request of some thousand variables. */
#define ROOM_BYTES (120 * 1024)

static_assert(RECORD_PARAMS_MAX + 1 == PARAMS_MAX, "it adds FCGI_ROLE");

enum status
fcgx_init(void)
{
	return FCGX_Init() == 0 ? ST_OK : ST_IO;
}

/* What is not kept of the body must not stay in the socket either. */
static enum status
take_body(FCGX_Stream *in, struct params *params)
{
	char piece[4096];
	enum status st = ST_OK;
	int n;

	while ((n = FCGX_GetStr(piece, (int)sizeof(piece), in)) > 0)
		if (st == ST_OK)
			st = params_add_body(params, span_of(piece, (size_t)n));
	return st;
}

static enum status
copy_params(char **env, struct params *params)
{
	enum status st = ST_OK;

	for (; st == ST_OK && *env != NULL; env++)
		st = params_add(params, span_str(*env));
	return st;
}

/* What is given back here is what libfcgi finds next. */
static bool
fcgx_has_room(void)
{
	void *volatile p = malloc(ROOM_BYTES); /* volatile: it is not elided */
	bool is_there = p != NULL;

	free(p);
	return is_there;
}

enum status
fcgx_read(int fd, struct params *params)
{
	FCGX_Request r;
	enum status st = ST_INVALID;

	if (!fcgx_has_room())
		return ST_NOMEM;
	if (FCGX_InitRequest(&r, -1, 0) != 0)
		return ST_NOMEM;
	r.ipcFd = fd;
	r.keepConnection = 1;
	FCGX_Detach(&r);
	if (FCGX_Accept_r(&r) == 0 && FCGX_GetError(r.in) == 0) {
		st = take_body(r.in, params);
		if (st == ST_OK)
			st = copy_params(r.envp, params);
	}
	FCGX_Free(&r, 0);
	return st;
}
