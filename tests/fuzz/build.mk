# SPDX-License-Identifier: MIT
# Fuzzers: `make fuzz [T=seconds for each]`.  Every fuzz_FOO.c here becomes a
# libFuzzer program, built by clang with lib/ and, when there is a
# pubd/FOO.c or fcgi/FOO.c, with that side.  It starts from the files in corpus/FOO/; what it finds on its way stays in
# build/fuzz/corpus/FOO/, what breaks it in build/fuzz/.
#
#       FUZZ_DEPS_fuzz_FOO := more sources, named in a fuzz_FOO.mk beside it

FUZZ_CC   ?= clang
FUZZ_B    := build/fuzz
FUZZ_SAN  := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN  := $(FUZZ_SRC:tests/fuzz/%.c=$(FUZZ_B)/%)
FUZZ_LIB  := $(LIB_SRC:%.c=$(FUZZ_B)/%.o) $(FUZZ_B)/gen/sql_text.o
FUZZ_PUBD := $(PUBD_SRC:%.c=$(FUZZ_B)/%.o)
FUZZ_FCGI := $(FCGI_SRC:%.c=$(FUZZ_B)/%.o)
FUZZ_FLAGS = -std=c11 -O1 -g -fno-omit-frame-pointer $(FUZZ_SAN) \
             $(CPPFLAGS) -Ipubd -Ifcgi
T ?= 10

-include $(wildcard tests/fuzz/fuzz_*.mk)

.PHONY: fuzz fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz: $(FUZZ_BIN)
	@tests/fuzz/run.sh $(FUZZ_B) $(T) $(FUZZ_BIN)

$(FUZZ_B)/lib.a: $(FUZZ_LIB)
$(FUZZ_B)/pubd.a: $(FUZZ_PUBD)
$(FUZZ_B)/fcgi.a: $(FUZZ_FCGI)

# $1: program, $2: FOO
define FUZZ_RULE
$1: $(FUZZ_B)/tests/fuzz/fuzz_$2.o \
    $(FUZZ_DEPS_fuzz_$2:%.c=$(FUZZ_B)/%.o) \
    $(if $(wildcard pubd/$2.c),$(FUZZ_B)/pubd.a) \
    $(if $(wildcard fcgi/$2.c),$(FUZZ_B)/fcgi.a) $(FUZZ_B)/lib.a
$1: LDLIBS += $(if $(wildcard fcgi/$2.c),-lfcgi)
endef
$(foreach t,$(FUZZ_BIN),$(eval \
    $(call FUZZ_RULE,$t,$(patsubst fuzz_%,%,$(notdir $t)))))

$(FUZZ_BIN):
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_SAN) -fsanitize=fuzzer -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

$(FUZZ_B)/%.o: %.c $(B)/gen/sql_text.h
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(FUZZ_B)/gen/sql_text.o: $(B)/gen/sql_text.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

-include $(wildcard $(FUZZ_B)/lib/*.d $(FUZZ_B)/pubd/*.d $(FUZZ_B)/fcgi/*.d \
    $(FUZZ_B)/tests/*/*.d $(FUZZ_B)/tests/*/*/*.d)
