# SPDX-License-Identifier: MIT
# Unit tests: `make unit`.  Every test_FOO.c here becomes a program of its own,
# linked with lib/ and, when there is a FOO.c in pubd/, pubd/cli or fcgi/, with
# that side.  What else it needs a test_FOO.mk beside it may say:
#
#       UNIT_DEPS_test_FOO := objects or archives
#       UNIT_LIBS_test_FOO := -lsomething

UNIT_SRC  := $(wildcard tests/unit/test_*.c)
UNIT_BIN  := $(UNIT_SRC:%.c=$(B)/%)
UNIT_HELP := $(patsubst %.c,$(B)/%.o,\
               $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)))
UNIT_WRAP := -Wl,--wrap=malloc,--wrap=realloc,--wrap=calloc

-include $(wildcard tests/unit/test_*.mk tests/unit/deps_*.mk)

.PHONY: unit unit-bin
unit-bin: $(UNIT_BIN)
unit: $(UNIT_BIN)
	@tests/unit/run.sh $(UNIT_BIN)

# The same, plain, under valgrind: reads of what was never written, which the
# sanitizers do not see, and errors inside of libraries.
.PHONY: valgrind
valgrind: deps-valgrind $(UNIT_BIN)
	@UNIT_UNDER="valgrind -q --leak-check=full --error-exitcode=99 \
	    --errors-for-leak-kinds=definite,indirect,possible" \
	    tests/unit/run.sh $(UNIT_BIN)

# $1: program, $2: FOO
define UNIT_RULE
$1: $1.o $(UNIT_HELP) $(UNIT_DEPS_test_$2) \
    $(patsubst %,$(B)/%.a,$(call side,$2)) $(LIB_A)
$1: LDLIBS += $(UNIT_LIBS_test_$2) $(if $(filter fcgi,$(call side,$2)),-lfcgi)
endef
$(foreach t,$(UNIT_BIN),$(eval \
    $(call UNIT_RULE,$t,$(patsubst test_%,%,$(notdir $t)))))

$(UNIT_BIN):
	$(call short,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(UNIT_WRAP) -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LDLIBS)

$(B)/tests/unit/%.o: CPPFLAGS += -Itests/unit $(SIDES)
