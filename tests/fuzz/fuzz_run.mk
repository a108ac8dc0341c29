# SPDX-License-Identifier: MIT
FUZZ_DEPS_fuzz_run := tests/fuzz/sim.c
FUZZ_LIBS_fuzz_run := -Wl,--wrap=write,--wrap=read,--wrap=close
