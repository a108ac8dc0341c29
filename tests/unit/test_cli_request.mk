# SPDX-License-Identifier: MIT
# Commands of walcast(1) are in no archive.

UNIT_DEPS_test_cli_request := $(B)/pubd/cli_request.o $(B)/pubd/cli_common.o
