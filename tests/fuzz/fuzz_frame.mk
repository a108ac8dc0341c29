# SPDX-License-Identifier: MIT
FUZZ_DEPS_fuzz_frame := tests/fuzz/eventstream.c
