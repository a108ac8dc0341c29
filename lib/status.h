/* SPDX-License-Identifier: MIT */
/*
 * The outcomes of a function that can fail.  Modules return them, main
 * reports them.  Output arguments are valid only on ST_OK; on failure the
 * object is unchanged unless the function says otherwise.
 */
#ifndef WALCAST_STATUS_H
#define WALCAST_STATUS_H

#define MUST_USE             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, va) __attribute__((format(printf, fmt, va)))

enum status {
	ST_OK,
	ST_AGAIN,      /* would block, or not all of it is there yet */
	ST_END,        /* end of file, end of rows, peer has closed */
	ST_NOMEM,      /* an allocation failed */
	ST_FULL,       /* a bound of ours would be crossed */
	ST_INVALID,    /* the input breaks its specification */
	ST_TOOLARGE,   /* the input is longer than its limit */
	ST_NOTFOUND,   /* no such thing */
	ST_EXISTS,     /* it is there already, alive */
	ST_BUSY,       /* locked by another process; try later */
	ST_NOSPACE,    /* the disk or the quota is full */
	ST_MOVED,      /* the file at this path is another one now */
	ST_CORRUPT,    /* stored data is damaged */
	ST_DENIED,     /* permissions do not allow it */
	ST_UNSAFE,     /* others could exchange what is there */
	ST_SCHEMA,     /* the database is of a version we cannot use */
	ST_CONSTRAINT, /* a row breaks a rule of the schema */
	ST_IO          /* any other failure of the system; see errno */
};

/* For the rare failure about which nothing can be done; say why beside it. */
static inline void
status_ignore(enum status st)
{
	(void)st;
}

/* A short lower-case name for logs.  Static storage. */
const char *status_name(enum status st);

/*
 * Room for one sentence that says what happened, to what, and what to do.
 * Filled by the function that fails, printed by main.
 */
struct errmsg {
	char text[320];
};

void errmsg_set(struct errmsg *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
