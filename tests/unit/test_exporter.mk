# SPDX-License-Identifier: MIT
UNIT_LIBS_test_exporter := -lcurl -pthread
