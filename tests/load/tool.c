/* SPDX-License-Identifier: MIT */
/* What the load tools share; see tool.h.  Blocks only on small files. */
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void
tool_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(TOOL_USAGE);
}

uint64_t
tool_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
tool_digits(const char *p, size_t len, size_t *used)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
		if (i == 19) { /* 19 digits always fit; no id needs 20 */
			*used = 0;
			return 0;
		}
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*used = i;
	return v;
}

uint64_t
tool_u64(const char *what, const char *text)
{
	size_t used, len = strlen(text);
	uint64_t v = tool_digits(text, len, &used);

	if (used == 0 || used != len)
		tool_die("%s: \"%s\" is not a number", what, text);
	return v;
}

double
tool_double(const char *what, const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= 0))
		tool_die("%s: \"%s\" is not a number", what, text);
	return v;
}

/* Where the value of "name": begins, or NULL. */
static const char *
find_value(const char *json, size_t len, const char *name)
{
	size_t n = strlen(name);
	const char *p = json, *end = json + len;

	while ((p = memchr(p, '"', (size_t)(end - p))) != NULL) {
		p++;
		if ((size_t)(end - p) < n + 2)
			return NULL;
		if (memcmp(p, name, n) == 0 && p[n] == '"' && p[n + 1] == ':')
			return p + n + 2;
	}
	return NULL;
}

bool
tool_json_u64(const char *json, size_t len, const char *name, uint64_t *value)
{
	const char *p = find_value(json, len, name);
	size_t used;

	if (p == NULL)
		return false;
	*value = tool_digits(p, (size_t)(json + len - p), &used);
	return used > 0;
}

bool
tool_json_str(const char *json, size_t len, const char *name, const char **str,
    size_t *str_len)
{
	const char *p = find_value(json, len, name), *end = json + len, *q;

	if (p == NULL || p == end || *p != '"')
		return false;
	p++;
	q = memchr(p, '"', (size_t)(end - p));
	if (q == NULL)
		return false;
	*str = p;
	*str_len = (size_t)(q - p);
	return true;
}

void *
tool_alloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL)
		tool_die("out of memory"); /* UNTESTED: set-up only */
	return p;
}

void
tool_need_fds(uint64_t need, uint64_t max)
{
	struct rlimit rl;

	if (max > 0 && need > max)
		tool_die("%llu descriptors needed, --max-fds is %llu",
		    (unsigned long long)need, (unsigned long long)max);
	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		tool_die("getrlimit: %s", strerror(errno));
	if (rl.rlim_cur >= need)
		return;
	if (rl.rlim_max < need)
		rl.rlim_max = need;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
		tool_die("%llu descriptors needed: %s",
		    (unsigned long long)need, strerror(errno));
}

void
tool_write_file(const char *path, const char *text)
{
	char tmp[4096];
	FILE *f;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		tool_die("%s: name too long", path);
	f = fopen(tmp, "w");
	if (f == NULL)
		tool_die("%s: %s", tmp, strerror(errno));
	fputs(text, f);
	if (fclose(f) != 0 || rename(tmp, path) != 0)
		tool_die("%s: %s", path, strerror(errno));
}

double
tool_cpu_s(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	    (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static _Noreturn void
help(const char *tool, const struct tool_opt *opts)
{
	char left[64];

	printf("usage: %s [options]\n", tool);
	for (; opts->help != NULL; opts++) {
		snprintf(left, sizeof(left), "--%s %s", opts->name,
		    opts->arg != NULL ? opts->arg : "");
		printf("  %-26s %s\n", left, opts->help);
	}
	exit(0);
}

int
tool_next_opt(const char *tool, const struct tool_opt *opts, char **argv,
    int *at, const char **arg)
{
	const char *word = argv[*at], *name;
	const struct tool_opt *o;

	if (word == NULL)
		return 0;
	if (strcmp(word, "--help") == 0)
		help(tool, opts);
	name = strncmp(word, "--", 2) == 0 ? word + 2 : "";
	if (word[0] == '-' && strlen(word) == 2)
		name = word + 1; /* one dash, one letter */
	for (o = opts; o->help != NULL; o++) {
		if (strcmp(name, o->name) == 0)
			break;
	}
	if (o->help == NULL)
		tool_die("%s: unknown option %s (--help lists them)", tool,
		    word);
	*arg = o->arg != NULL ? argv[*at + 1] : NULL;
	if (o->arg != NULL && *arg == NULL)
		tool_die("%s: %s needs %s", tool, word, o->arg);
	*at += o->arg != NULL ? 2 : 1;
	return o->id;
}
