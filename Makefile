# SPDX-License-Identifier: MIT
# Walcast.  `make help` lists what there is to do.

VERSION := 0.1.0
PREFIX  ?= /usr/local
SAN     ?=
CC      ?= cc
PYTHON  ?= /usr/bin/python3

B       := build
CFLAGS  ?= -O2 -g
ifeq ($(SAN),1)
B       := build/asan
CFLAGS  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
           -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
else ifeq ($(SAN),thread)
B       := build/tsan
CFLAGS  := -O1 -g -fsanitize=thread
LDFLAGS += -fsanitize=thread
endif

WARN    := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes \
           -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
ifeq ($(CI),true)
WARN    += -Werror
endif
CPPFLAGS += -D_GNU_SOURCE -DWALCAST_VERSION='"$(VERSION)"' -Ilib -I$(B)/gen
override CFLAGS += -std=c11 -fstack-protector-strong $(WARN)

LIB_SRC  := $(wildcard lib/*.c)
PUBD_SRC := $(filter-out pubd/main.c pubd/walcast.c pubd/cli_%,\
              $(wildcard pubd/*.c))
CLI_SRC  := $(wildcard pubd/cli_*.c) pubd/walcast.c
FCGI_SRC := $(filter-out fcgi/main_%,$(wildcard fcgi/*.c))

LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o) $(B)/gen/sql_text.o
PUBD_OBJ := $(PUBD_SRC:%.c=$(B)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
FCGI_OBJ := $(FCGI_SRC:%.c=$(B)/%.o)

LIB_A    := $(B)/libwalcast.a
PUBD_A   := $(B)/pubd.a
FCGI_A   := $(B)/fcgi.a
LDLIBS   := -lsqlite3 -ljson-c
PROGRAMS := $(addprefix $(B)/bin/,pubd walcast sse.fcgi sse-metrics.fcgi)

.PHONY: all
all: deps-build
	@$(MAKE) --no-print-directory programs

.PHONY: programs
programs: $(PROGRAMS)

$(B)/bin/pubd: $(B)/pubd/main.o $(PUBD_A) $(LIB_A)
$(B)/bin/walcast: $(CLI_OBJ) $(PUBD_A) $(LIB_A)
$(B)/bin/sse.fcgi: $(B)/fcgi/main_sse.o $(FCGI_A) $(LIB_A)
$(B)/bin/sse-metrics.fcgi: $(B)/fcgi/main_metrics.o $(FCGI_A) $(LIB_A)
$(B)/bin/sse.fcgi $(B)/bin/sse-metrics.fcgi: LDLIBS += -lfcgi
$(PROGRAMS):
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

$(LIB_A): $(LIB_OBJ)
$(PUBD_A): $(PUBD_OBJ)
$(FCGI_A): $(FCGI_OBJ)
%.a:
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/%.o: %.c $(B)/gen/sql_text.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

SQL := $(sort $(wildcard sql/*.sql))
$(B)/gen/sql_text.h: $(SQL) sql/embed.awk
	@mkdir -p $(@D)
	awk -v header=1 -f sql/embed.awk $(SQL) >$@
$(B)/gen/sql_text.c: $(SQL) sql/embed.awk $(B)/gen/sql_text.h
	awk -v header=0 -f sql/embed.awk $(SQL) >$@

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d)
-include tests/unit/build.mk tests/fuzz/build.mk tests/load/build.mk \
         tests/bench/build.mk

# Installs what is missing of a group; says so; nothing when all is there.
.PHONY: deps-%
deps-%:
	@tests/deps.sh $*

.PHONY: clean
clean:
	rm -rf build
