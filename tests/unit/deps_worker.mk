# SPDX-License-Identifier: MIT
# Tests of the stream worker that let the test decide what a write takes.

RIG := $(B)/tests/unit/rig/rig.o
LOG := $(B)/tests/unit/rig/riglog.o

UNIT_DEPS_test_hub    := $(RIG)
UNIT_DEPS_test_log_reader := $(LOG)
UNIT_DEPS_test_replay := $(RIG) $(LOG)
UNIT_DEPS_test_tail   := $(RIG) $(LOG)
UNIT_DEPS_test_worker_metrics  := $(RIG) $(LOG)
UNIT_LIBS_test_hub    := -Wl,--wrap=write
UNIT_LIBS_test_replay := -Wl,--wrap=write
UNIT_LIBS_test_tail   := -Wl,--wrap=write
UNIT_LIBS_test_worker_metrics  := -Wl,--wrap=write
UNIT_LIBS_test_stream := -Wl,--wrap=write

-include $(RIG:.o=.d) $(LOG:.o=.d)
