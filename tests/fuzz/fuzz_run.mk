# SPDX-License-Identifier: MIT
FUZZ_DEPS_fuzz_run := tests/unit/rig/rig.c
$(FUZZ_B)/fuzz_run: LDLIBS += -Wl,--wrap=write
