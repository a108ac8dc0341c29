# SPDX-License-Identifier: MIT
# The demo: see demo.sh.

DEMO_HOLD := build/demo/hold

$(DEMO_HOLD): tests/demo/hold.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) -D_GNU_SOURCE -std=c11 -O2 $(WARN) -o $@ $<

.PHONY: demo
demo:
	@tests/deps.sh build demo
	@$(MAKE) --no-print-directory -s $(JOBS) programs $(DEMO_HOLD)
	@tests/demo/demo.sh
