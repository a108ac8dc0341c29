# SPDX-License-Identifier: MIT
# Shims of the fault harness: `make fault-shims`.  Each shim/NAME.c becomes
# $(B)/fault/libNAME.so, to be loaded by LD_PRELOAD into the program under
# test; control.c is what the counting ones share.  They are built without
# sanitizers, so that they fit under programs of either kind.

FAULT_SHARED := tests/fault/shim/control.c
FAULT_SRC    := $(filter-out $(FAULT_SHARED),$(wildcard tests/fault/shim/*.c))
FAULT_SHIMS  := $(FAULT_SRC:tests/fault/shim/%.c=$(B)/fault/lib%.so)
FAULT_CFLAGS := -O2 -g -fno-omit-frame-pointer -fPIC -fvisibility=hidden \
                -pthread -std=c11 $(WARN)

.PHONY: fault-shims
fault-shims: $(FAULT_SHIMS)

$(B)/fault/libnth.so $(B)/fault/libvfs.so: $(B)/fault/control.o
# These are file systems of SQLite.
$(B)/fault/libvfs.so $(B)/fault/libpower.so: FAULT_LIBS := -lsqlite3
$(B)/fault/lib%.so: $(B)/fault/%.o
	$(call short,LD,$@)$(CC) -shared -pthread -o $@ $(filter %.o,$^) $(FAULT_LIBS)
$(B)/fault/%.o: tests/fault/shim/%.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) $(CPPFLAGS) $(FAULT_CFLAGS) -MMD -MP -c -o $@ $<

.PRECIOUS: $(B)/fault/%.o
