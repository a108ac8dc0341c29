# SPDX-License-Identifier: MIT
# The demo: see demo.sh.

DEMO_HOLD := build/demo/hold

$(DEMO_HOLD): tests/demo/hold.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=c11 -O2 $(WARN) -o $@ $<

.PHONY: demo
demo: deps-build deps-demo
	@$(MAKE) --no-print-directory -s programs $(DEMO_HOLD)
	@tests/demo/demo.sh

# `make check` calls the script by itself; it finds its helper there.
programs: $(DEMO_HOLD)
