# SPDX-License-Identifier: MIT
# System tests with every program watched: `make valgrind-system`, for reads
# of what was never written and leaks, and `make system-tsan`, for data races.
# (`make valgrind` runs the unit tests: tests/unit/build.mk.)  Minutes each.

WATCHED_PYTEST := -n 4 --dist loadfile -k 'not apache_cgi'

# Programs start a hundred times slower: the two files that ask most of them.
.PHONY: valgrind-system
valgrind-system: deps-valgrind deps-check programs
	@tests/dynamic/system.sh valgrind $(abspath $(B)/bin) $(WATCHED_PYTEST) \
	    $(addprefix tests/system/test_,protocol.py stream.py) $(PYTEST_ARGS)

# Without those that count time; pubd's second thread sends spans.
TSAN_TESTS := protocol worker stream reports publog logs metrics beacon \
              tracing sql kill status_check
.PHONY: system-tsan
system-tsan: deps-check load-tools
	@$(MAKE) --no-print-directory SAN=thread programs
	@tests/dynamic/system.sh tsan $(CURDIR)/build/tsan/bin \
	    $(WATCHED_PYTEST) $(TSAN_TESTS:%=tests/system/test_%.py) \
	    $(PYTEST_ARGS)
