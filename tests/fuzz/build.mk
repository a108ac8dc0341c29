# SPDX-License-Identifier: MIT
# Fuzzers: `make fuzz [T=seconds for each]`.  Every fuzz_FOO.c here becomes a
# libFuzzer program, built by clang with lib/ and, when there is a FOO.c in
# pubd/, pubd/cli or fcgi/, with that side.  It starts from the files in
# corpus/FOO/; what it finds on its way stays in build/fuzz/corpus/FOO/, what
# breaks it in build/fuzz/.  What else it needs a fuzz_FOO.mk beside it says:
#
#       FUZZ_DEPS_fuzz_FOO := more sources
#       FUZZ_LIBS_fuzz_FOO := more for the linker
#
# `make SAN=1 fuzz-replay` runs them over their corpora, with any compiler.

FUZZ_CC   ?= clang
FUZZ_B    := build/fuzz
# For many runs of what is explored already, half the time:
# FUZZ_COVER="-fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp"
FUZZ_COVER ?= -fsanitize=fuzzer-no-link
FUZZ_SAN  := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN  := $(FUZZ_SRC:tests/fuzz/%.c=$(FUZZ_B)/%)
FUZZ_LIB  := $(LIB_SRC:%.c=$(FUZZ_B)/%.o) $(FUZZ_B)/gen/sql_text.o
FUZZ_PUBD := $(PUBD_SRC:%.c=$(FUZZ_B)/%.o)
FUZZ_CLI  := $(CLI_SRC:%.c=$(FUZZ_B)/%.o)
FUZZ_FCGI := $(FCGI_SRC:%.c=$(FUZZ_B)/%.o)
FUZZ_FLAGS = -std=c11 -O2 -g -fno-omit-frame-pointer $(FUZZ_SAN) \
             $(CPPFLAGS) $(SIDES)
T ?= 10

-include $(wildcard tests/fuzz/fuzz_*.mk)

.PHONY: fuzz fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz: $(FUZZ_BIN)
	@tests/fuzz/run.sh $(FUZZ_B) $(T) $(FUZZ_BIN)

$(FUZZ_B)/lib.a: $(FUZZ_LIB)
$(FUZZ_B)/pubd.a: $(FUZZ_PUBD)
$(FUZZ_B)/cli.a: $(FUZZ_CLI)
$(FUZZ_B)/fcgi.a: $(FUZZ_FCGI)

# $1: program, $2: FOO
define FUZZ_RULE
$1: $(FUZZ_B)/tests/fuzz/fuzz_$2.o \
    $(FUZZ_DEPS_fuzz_$2:%.c=$(FUZZ_B)/%.o) \
    $(patsubst %,$(FUZZ_B)/%.a,$(call side,$2) lib)
$1: LDLIBS += $(FUZZ_LIBS_fuzz_$2) $(if $(filter fcgi,$(call side,$2)),-lfcgi)
endef
$(foreach t,$(FUZZ_BIN),$(eval \
    $(call FUZZ_RULE,$t,$(patsubst fuzz_%,%,$(notdir $t)))))

$(FUZZ_BIN):
	@mkdir -p $(@D)
	$(call short,LD,$@)$(FUZZ_CC) $(FUZZ_SAN) -fsanitize=fuzzer -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# Coverage is counted of what is tested, not of what judges it.
$(FUZZ_B)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(FUZZ_CC) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<
$(FUZZ_B)/%.o: %.c $(B)/gen/sql_text.h
	@mkdir -p $(@D)
	$(call short,CC,$<)$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_COVER) -MMD -MP -c -o $@ $<
$(FUZZ_B)/gen/sql_text.o: $(B)/gen/sql_text.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(FUZZ_CC) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

# ---- without libFuzzer -------------------------------------------------------

REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(B)/tests/fuzz/replay_%)

.PHONY: fuzz-replay
fuzz-replay: $(REPLAY_BIN)
	@tests/fuzz/replay.sh $(REPLAY_BIN)

# $1: program, $2: FOO
define REPLAY_RULE
$1: $(B)/tests/fuzz/fuzz_$2.o $(B)/tests/fuzz/replay.o \
    $(FUZZ_DEPS_fuzz_$2:%.c=$(B)/%.o) \
    $(patsubst %,$(B)/%.a,$(call side,$2)) $(LIB_A)
$1: LDLIBS += $(FUZZ_LIBS_fuzz_$2) $(if $(filter fcgi,$(call side,$2)),-lfcgi)
endef
$(foreach t,$(REPLAY_BIN),$(eval \
    $(call REPLAY_RULE,$t,$(patsubst replay_%,%,$(notdir $t)))))

$(REPLAY_BIN):
	$(call short,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

$(B)/tests/fuzz/%.o: CPPFLAGS += $(SIDES)

-include $(wildcard $(FUZZ_B)/*/*.d $(FUZZ_B)/*/*/*.d $(FUZZ_B)/*/*/*/*.d)
