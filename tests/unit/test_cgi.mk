# SPDX-License-Identifier: MIT
# The test says what time it is.

UNIT_LIBS_test_cgi := -Wl,--wrap=clock_mono_us
