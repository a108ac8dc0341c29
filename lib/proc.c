/* SPDX-License-Identifier: MIT */
/* The process as the system sees it. */
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"
#include "wire.h"

uint64_t
proc_rss_bytes(void)
{
	/* In pages: all of it, then what is resident. */
	char text[128], *end;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	(void)strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

size_t
proc_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the directory's own */
}

uint64_t
proc_fds_limit(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_NOFILE, &r) == 0 ? (uint64_t)r.rlim_cur : 0;
}

static void
set_known(struct metrics *f, unsigned cell, uint64_t n)
{
	if (n > 0)
		metrics_set(f, cell, n);
}

void
proc_metrics(struct metrics *f, uint64_t n_fds, uint64_t fds_limit)
{
	set_known(f, METRIC_FDS_USED, n_fds);
	set_known(f, METRIC_FDS_LIMIT, fds_limit);
	if (n_fds > 0 && fds_limit > 0)
		metrics_set(f, METRIC_FDS_PERMILLE, n_fds * 1000 / fds_limit);
	set_known(f, METRIC_RSS, proc_rss_bytes());
	metrics_set(f, METRIC_LOG_LINES_DROPPED, log_n_dropped());
}

void
proc_report(struct wire_report *r)
{
	const struct log_last *last = log_last_error();

	r->pid = getpid();
	r->version = SPAN(WALCAST_VERSION);
	r->error_ms = last->ts_ms;
	r->error = span_str(last->text);
}

void
proc_dump_no_memory(void)
{
	const struct rlimit none = {0, 0};
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	(void)setrlimit(RLIMIT_CORE, &none);
	if (fd < 0 || write(fd, "0", 1) != 1)
		log_warn("/proc/self/coredump_filter: a core would hold "
			 "secrets of visitors");
	if (fd >= 0)
		(void)close(fd);
}
