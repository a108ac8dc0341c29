/* SPDX-License-Identifier: MIT */
/*
 * A wall clock that jumps while the program runs: adds an offset to what
 * CLOCK_REALTIME, gettimeofday() and time() give.  CLOCK_MONOTONIC, which is
 * what a jump must not touch, is the kernel's, and so are timers and the
 * times of files.
 *
 * WALCAST_FAULT_CLOCK names a file of eight bytes, the offset in microseconds
 * as an int64_t of this machine; the driver writes it as one word whenever it
 * likes.  Without that file the clock is the kernel's.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_ENV "WALCAST_FAULT_CLOCK"
#define US_PER_S  1000000
#define NS_PER_US 1000
#define EXPORT    __attribute__((visibility("default")))

static const _Atomic int64_t *offset_us;

__attribute__((constructor)) static void
map_offset(void)
{
	const char *path = getenv(CLOCK_ENV);
	void *p;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*offset_us), PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		offset_us = p;
	(void)close(fd);
}

/* Moves *ts by the offset of now. */
static void
jump(struct timespec *ts)
{
	int64_t us = offset_us == NULL ? 0 : atomic_load(offset_us);
	int64_t ns = ts->tv_nsec + us % US_PER_S * NS_PER_US;

	ts->tv_sec += us / US_PER_S;
	if (ns < 0) {
		ts->tv_sec--;
		ns += (int64_t)US_PER_S * NS_PER_US;
	} else if (ns >= (int64_t)US_PER_S * NS_PER_US) {
		ts->tv_sec++;
		ns -= (int64_t)US_PER_S * NS_PER_US;
	}
	ts->tv_nsec = ns;
}

EXPORT int
clock_gettime(clockid_t id, struct timespec *ts)
{
	/* Not by dlsym: it allocates, and allocators ask for the time. */
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		jump(ts);
	return r;
}

EXPORT int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / NS_PER_US;
	return 0;
}

EXPORT time_t
time(time_t *out)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return (time_t)-1;
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
