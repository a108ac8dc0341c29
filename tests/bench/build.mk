# SPDX-License-Identifier: MIT
# The benchmarks: `make bench` runs them, tools are left in build/bench/.
# BENCH_ARGS goes to bench.py (--help lists what it takes).

BENCH_DIR := $(dir $(lastword $(MAKEFILE_LIST)))
BENCH_OUT := build/bench
# Optimised and without sanitizers, whatever else is being built.
BENCH_CFLAGS := -std=c11 -O2 -g -Wall -Wextra -Wconversion -Wshadow -Wvla
BENCH_BINS := $(addprefix $(BENCH_OUT)/,bare_commit bare_read fcgiread)
BENCH_SHARED := build/load/hist.o build/load/tool.o

.PHONY: bench bench-tools
bench-tools: $(BENCH_BINS)

bench: programs load-tools bench-tools
	/usr/bin/python3 $(BENCH_DIR)bench.py $(BENCH_ARGS)

$(BENCH_OUT)/bare_commit: $(BENCH_OUT)/bare_commit.o $(BENCH_SHARED)
$(BENCH_OUT)/bare_read: $(BENCH_OUT)/bare_read.o $(BENCH_SHARED)
$(BENCH_OUT)/fcgiread: $(BENCH_OUT)/fcgiread.o build/load/ssewire.o \
	build/load/order.o $(BENCH_SHARED)
$(BENCH_BINS):
	$(call short,LD,$@)$(CC) $(BENCH_CFLAGS) -o $@ $^ -lsqlite3

$(BENCH_OUT)/%.o: $(BENCH_DIR)%.c
	@mkdir -p $(BENCH_OUT)
	$(call short,CC,$<)$(CC) -D_GNU_SOURCE $(BENCH_CFLAGS) -MMD -MP -c -o $@ $<

-include $(wildcard $(BENCH_OUT)/*.d)
