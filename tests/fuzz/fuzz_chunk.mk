# SPDX-License-Identifier: MIT
FUZZ_DEPS_fuzz_chunk := tests/fuzz/sim.c
FUZZ_LIBS_fuzz_chunk := -Wl,--wrap=write,--wrap=read,--wrap=close
