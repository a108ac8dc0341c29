/* SPDX-License-Identifier: MIT */
/* What the system says of this process. */
#include "proc.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"

static void
memory_that_is_touched_is_resident(void **state)
{
	static char block[32 << 20];
	uint64_t before = proc_rss_bytes();

	(void)state;
	assert_true(before > 100000);
	memset(block, 1, sizeof(block));
	assert_true(proc_rss_bytes() >= before + sizeof(block) / 2);
}

static void
each_descriptor_counts_once(void **state)
{
	size_t before = proc_count_fds();
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_true(before >= 3);
	assert_true(fd >= 0);
	assert_int_equal(proc_count_fds(), before + 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(proc_count_fds(), before);
}

static void
the_limit_is_the_soft_one(void **state)
{
	struct rlimit r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = 77;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
	assert_int_equal(proc_fds_limit(), 77);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_that_is_touched_is_resident),
	    cmocka_unit_test(each_descriptor_counts_once),
	    cmocka_unit_test(the_limit_is_the_soft_one),
	};

	return RUN(tests);
}
