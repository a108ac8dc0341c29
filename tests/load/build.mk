# SPDX-License-Identifier: MIT
# The load tools: `make load-tools` leaves them in build/load/.

LOAD_DIR := $(dir $(lastword $(MAKEFILE_LIST)))
LOAD_OUT := build/load
# Never a sanitizer's flags: these tools measure, and one build serves all.
LOAD_CFLAGS := $(if $(SAN),,$(CFLAGS)) -std=c11 -O2 -g -Wall -Wextra \
	-Wconversion -Wshadow -Wvla
LOAD_BINS := $(LOAD_OUT)/sseload $(LOAD_OUT)/pubload $(LOAD_OUT)/nchanpub

SSELOAD_OBJS := $(addprefix $(LOAD_OUT)/, sseload.o sseconf.o ssecheck.o \
	ssereport.o ssewire.o order.o due.o hist.o tool.o)
PUBLOAD_OBJS := $(addprefix $(LOAD_OUT)/, pubload.o pubwire.o hist.o tool.o)
NCHANPUB_OBJS := $(addprefix $(LOAD_OUT)/, nchanpub.o hist.o tool.o)

.PHONY: load-tools load-selftest
load-tools: $(LOAD_BINS)

# Does the checker see what it must see?
load-selftest: load-tools
	/usr/bin/python3 $(LOAD_DIR)selftest.py $(LOAD_OUT)

$(LOAD_OUT)/sseload: $(SSELOAD_OBJS)
$(LOAD_OUT)/pubload: $(PUBLOAD_OBJS)
$(LOAD_OUT)/nchanpub: $(NCHANPUB_OBJS)
$(LOAD_BINS):
	$(call short,LD,$@)$(CC) $(LOAD_CFLAGS) -o $@ $^

$(LOAD_OUT)/%.o: $(LOAD_DIR)%.c
	@mkdir -p $(LOAD_OUT)
	$(call short,CC,$<)$(CC) -D_GNU_SOURCE $(LOAD_CFLAGS) -MMD -MP -c -o $@ $<

-include $(wildcard $(LOAD_OUT)/*.d)
