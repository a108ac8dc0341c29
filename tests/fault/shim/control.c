/* SPDX-License-Identifier: MIT */
/*
 * The counting.  Invariant: nothing here allocates once control_open has
 * returned, and a call made on behalf of the counting itself is not counted.
 */
#include "control.h"

#include <assert.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_FRAMES 32

static struct {
	struct control_file *file; /* NULL: not asked for */
	struct control_seen *seen; /* of this shim's sites */
	pid_t pid;
} self;

/* A thread that is in here already: its calls are ours. */
static _Thread_local bool inside __attribute__((tls_model("initial-exec")));

static void
give_up(const char *what)
{
	perror(what);
	abort();
}

static struct control_file *
map(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		give_up(path);
	p = mmap(NULL, sizeof(struct control_file), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		give_up(path);
	(void)close(fd);
	return p;
}

void
control_open(const char *const *names, size_t n_names)
{
	const char *path = getenv(CONTROL_ENV);
	struct control_file *f;
	void *first;
	size_t i;

	if (path == NULL)
		return;
	f = map(path);
	self.seen = f->seen + atomic_fetch_add(&f->n_sites, n_names);
	assert(self.seen + n_names <= f->seen + CONTROL_SITES);
	for (i = 0; i < n_names; i++)
		(void)snprintf(self.seen[i].name, CONTROL_NAME_BYTES, "%s",
		    names[i]);
	/* The unwinder allocates when it is used for the first time. */
	(void)backtrace(&first, 1);
	self.pid = getpid();
	self.file = f;
}

/* Where it was, innermost first; the driver leaves our own frames out. */
static void
note_stack(struct control_file *f)
{
	void *frame[MAX_FRAMES];
	int i, n = backtrace(frame, MAX_FRAMES);
	size_t len = 0;
	Dl_info at;

	for (i = 0; i < n && len < sizeof(f->stack); i++)
		if (dladdr(frame[i], &at) != 0 && at.dli_fname != NULL)
			len += (size_t)snprintf(f->stack + len,
			    sizeof(f->stack) - len, "%s+%#tx ", at.dli_fname,
			    (char *)frame[i] - (char *)at.dli_fbase);
}

static bool
count(struct control_file *f, struct control_seen *at)
{
	uint64_t n = atomic_fetch_add(&at->n, 1) + 1;
	uint64_t nth = atomic_load(&f->nth);

	if (strcmp(at->name, f->site) != 0 || nth == 0 || n < nth ||
	    n - nth >= atomic_load(&f->times))
		return false;
	atomic_fetch_add(&f->n_fired, 1);
	note_stack(f);
	return true;
}

bool
control_fails(unsigned site)
{
	bool fails;

	if (self.file == NULL || inside ||
	    atomic_load(&self.file->armed) == 0 || getpid() != self.pid)
		return false;
	inside = true;
	fails = count(self.file, &self.seen[site]);
	inside = false;
	return fails;
}

int
control_error(int usual)
{
	int error = (int)atomic_load(&self.file->error);

	return error == 0 ? usual : error;
}

bool
control_is_short(void)
{
	return atomic_load(&self.file->error) == CONTROL_SHORT;
}
