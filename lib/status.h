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

/* X(member, its name in logs) */
#define STATUSES(X)                                                            \
	X(OK, "ok")                                                            \
	X(AGAIN, "again") /* would block, or not all of it is there yet */     \
	X(END, "end")     /* end of file, end of rows, peer has closed */      \
	X(NOMEM, "out of memory") /* an allocation failed */                   \
	X(FULL, "full")           /* a bound of ours would be crossed */       \
	X(INVALID, "invalid")     /* the input breaks its specification */     \
	X(TOOLARGE, "too large")  /* the input is longer than its limit */     \
	X(NOTFOUND, "not found")  /* no such thing */                          \
	X(EXISTS, "exists")       /* it is there already, alive */             \
	X(BUSY, "busy")           /* locked by another process; try later */   \
	X(NOSPACE, "no space")    /* the disk or the quota is full */          \
	X(MOVED, "moved")     /* the file at this path is another one now */   \
	X(CORRUPT, "corrupt") /* stored data is damaged */                     \
	X(DENIED, "denied")   /* permissions do not allow it */                \
	X(UNSAFE, "unsafe")   /* others could exchange what is there */        \
	X(SCHEMA, "schema")   /* the database is of a version we cannot use */ \
	X(CONSTRAINT, "constraint") /* a row breaks a rule of the schema */    \
	X(IO, "i/o error") /* any other failure of the system; see errno */

#define STATUS_MEMBER(member, name) ST_##member,
enum status { STATUSES(STATUS_MEMBER) };

/* Ignores a failure about which nothing can be done; say why beside it. */
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
