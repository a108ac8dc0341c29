# SPDX-License-Identifier: MIT
# Commands of walcast(1) are in no archive.

UNIT_DEPS_test_cli_queue := $(B)/pubd/cli_queue.o
