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

# As dpkg-buildflags does with hardening=+all.  Not with the sanitizers, which
# would see less; and -O0 knows no object's size.
ifeq ($(SAN),)
HARDEN  := -fPIE -Wformat -Werror=format-security
ifeq ($(filter -O0,$(CFLAGS))$(findstring FORTIFY_SOURCE,$(CFLAGS)$(CPPFLAGS)),)
HARDEN  += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
override LDFLAGS += -pie -Wl,-z,relro -Wl,-z,now
endif

# A header is named by its file alone, in whichever room of a side it lies; of
# pubd/ each finds those of its own room only.
rooms     = $(patsubst %/,%,$(sort $(dir $(wildcard $1/*.h $1/*/*.h))))
LIB_DIRS  := $(call rooms,lib)
PUBD_DIRS := $(call rooms,pubd)
FCGI_DIRS := $(call rooms,fcgi)
SIDES     := $(PUBD_DIRS:%=-I%) $(FCGI_DIRS:%=-I%) # for tests

WARN    := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes \
           -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
ifeq ($(CI),true)
WARN    += -Werror
endif
CPPFLAGS += -D_GNU_SOURCE -DWALCAST_VERSION='"$(VERSION)"' $(LIB_DIRS:%=-I%) \
            -I$(B)/gen
override CFLAGS += -std=c11 -fstack-protector-strong $(HARDEN) $(WARN)

# A short line for each file; `make V=1` shows the commands, `make -s` neither.
SILENT := $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
short   = $(if $(filter-out 0,$(V)),,@$(if $(SILENT),,printf '%-4s %s\n' $1 $2;))

# For what builds much: as many jobs as the machine has cores, unless whoever
# called make has said how many.
JOBS    = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell \
            nproc 2>/dev/null || getconf _NPROCESSORS_ONLN))

LIB_SRC  := $(wildcard lib/*.c lib/*/*.c)
CLI_MAIN := pubd/cli/walcast.c
CLI_SRC  := $(wildcard pubd/cli/cli_*.c)
PUBD_SRC := $(filter-out pubd/main.c,$(wildcard pubd/*.c))
FCGI_SRC := $(filter-out fcgi/main_%,$(wildcard fcgi/*.c fcgi/*/*.c))

LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o) $(B)/gen/sql_text.o
PUBD_OBJ := $(PUBD_SRC:%.c=$(B)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
FCGI_OBJ := $(FCGI_SRC:%.c=$(B)/%.o) $(B)/gen/page_text.o

LIB_A    := $(B)/libwalcast.a
PUBD_A   := $(B)/pubd.a
CLI_A    := $(B)/cli.a
FCGI_A   := $(B)/fcgi.a
# Tokens' libraries stay out of a program that judges none.
LDLIBS   := -lsqlite3 -ljson-c -Wl,--as-needed -ljwt -lcrypto -Wl,--no-as-needed

# Which archives a test of module $1 needs besides lib.
side = $(if $(filter %/$1.c,$(CLI_SRC)),cli) \
       $(if $(filter %/$1.c,$(PUBD_SRC)),pubd) \
       $(if $(filter %/$1.c,$(FCGI_SRC)),fcgi)

PROGRAMS := $(addprefix $(B)/bin/,pubd walcast sse.fcgi sse-metrics.fcgi)

.PHONY: all
all:
	@CC="$(CC)" INCLUDES="$(filter -I%,$(CPPFLAGS) $(CFLAGS))" \
	    tests/deps.sh --missing build
	@$(MAKE) --no-print-directory programs

.PHONY: programs
programs: $(PROGRAMS)

$(B)/bin/pubd: $(B)/pubd/main.o $(PUBD_A) $(LIB_A)
$(B)/bin/walcast: $(CLI_MAIN:%.c=$(B)/%.o) $(CLI_A) $(LIB_A)
$(B)/bin/sse.fcgi: $(B)/fcgi/main_sse.o $(FCGI_A) $(LIB_A)
$(B)/bin/sse-metrics.fcgi: $(B)/fcgi/main_metrics.o $(FCGI_A) $(LIB_A)
$(B)/bin/sse.fcgi $(B)/bin/sse-metrics.fcgi: LDLIBS += -lfcgi
# Only pubd: the workers stay small, and walcast needs none of it.
$(B)/bin/pubd: LDLIBS += -lcurl -pthread
$(PROGRAMS):
	@mkdir -p $(@D)
	$(call short,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ \
	    $(filter %.o %.a,$^) $(LDLIBS)

$(LIB_A): $(LIB_OBJ)
$(PUBD_A): $(PUBD_OBJ)
$(CLI_A): $(CLI_OBJ)
$(FCGI_A): $(FCGI_OBJ)
%.a:
	@rm -f $@
	$(call short,AR,$@)$(AR) rcs $@ $^

$(B)/fcgi/%.o: CPPFLAGS += $(FCGI_DIRS:%=-I%)
$(B)/%.o: %.c $(B)/gen/sql_text.h
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/gen/%.o: $(B)/gen/%.c
	$(call short,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

SQL := $(sort $(wildcard sql/*.sql))
$(B)/gen/sql_text.h: $(SQL) sql/embed.awk
	@mkdir -p $(@D)
	$(call short,GEN,$@)awk -v header=1 -f sql/embed.awk $(SQL) >$@
$(B)/gen/sql_text.c: $(SQL) sql/embed.awk $(B)/gen/sql_text.h
	$(call short,GEN,$@)awk -v header=0 -f sql/embed.awk $(SQL) >$@

PAGE_DIR := fcgi/metrics/page
PAGE     := $(wildcard $(PAGE_DIR)/status.*)
$(B)/gen/page_text.c: $(PAGE) $(PAGE_DIR)/embed.awk
	@mkdir -p $(@D)
	$(call short,GEN,$@)awk -f $(PAGE_DIR)/embed.awk \
	    $(PAGE_DIR)/status.html >$@.new
	@mv $@.new $@

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d)
-include tests/unit/build.mk tests/fuzz/build.mk tests/load/build.mk \
         tests/bench/build.mk tests/demo/build.mk tests/fault/build.mk \
         tests/dynamic/build.mk

# ---- tests -------------------------------------------------------------------
# Each part says what it does; the first that fails ends it.

.PHONY: check
check:
	@tests/deps.sh build check
	@echo "== programs, plain and with ASan+UBSan"
	@$(MAKE) --no-print-directory $(JOBS) programs load-tools $(DEMO_HOLD)
	@$(MAKE) --no-print-directory $(JOBS) SAN=1 programs
	@$(MAKE) --no-print-directory check-deps
	@echo "== unit tests, with ASan+UBSan"
	@$(MAKE) --no-print-directory $(JOBS) SAN=1 unit
	@echo "== what fuzzing found and covers, once more"
	@$(MAKE) --no-print-directory $(JOBS) SAN=1 fuzz-replay
	@echo "== the load tools catch what they should"
	@$(PYTHON) tests/load/selftest.py
	@tests/check-conf-docs.sh
	@tests/lint/check-lists.py $(B)
	@tests/check-metrics-docs.sh
	@tests/check-units.py
	@tests/check-missing.sh
	@tests/lint/check-hardening.sh $(PROGRAMS)
	@echo "== the JavaScript client, in Node"
	@$(MAKE) --no-print-directory client
	@echo "== in the real servers"
	@$(MAKE) --no-print-directory system
	@echo "== in the real servers, with ASan+UBSan"
	@$(MAKE) --no-print-directory system-asan
	@echo "== broken on purpose: a short selection"
	@$(MAKE) --no-print-directory fault
	@echo "== the demo, from start to end"
	@tests/demo/demo.sh --check
	@echo "check: all tests passed"

PYTEST := $(PYTHON) -B -m pytest -q -p no:cacheprovider

.PHONY: client
client: deps-check
	@tests/client/run.sh

# Most tests wait more than they work, so several files run side by side;
# those that load the machine or count its time run alone.
SIDE_BY_SIDE := -n 4 --dist loadfile
ALONE := $(addprefix tests/system/,test_faults.py test_kill.py test_load.py \
           test_slots.py)

.PHONY: system
system: programs load-tools
	@$(PYTEST) $(SIDE_BY_SIDE) tests/system $(ALONE:%=--ignore=%) \
	    $(PYTEST_ARGS)
	@$(PYTEST) $(ALONE) $(PYTEST_ARGS)

# The same programs, sanitized, through what talks to them most.
SANITIZED := programs protocol worker stream reports publog logs metrics beacon
.PHONY: system-asan
system-asan: load-tools
	@$(MAKE) --no-print-directory SAN=1 programs
	@WALCAST_BIN=$(CURDIR)/build/asan/bin $(PYTEST) $(SIDE_BY_SIDE) \
	    $(SANITIZED:%=tests/system/test_%.py) -k 'not apache_cgi' \
	    $(PYTEST_ARGS)

# Faults, and whether every event arrived once all the same: the checker's own
# tests, then scenarios (tests/fault/README.md).  All of them, with more
# rounds: `make soak`, or tests/fault/walcast-harness.
HARNESS := $(PYTHON) -B tests/fault/walcast-harness
.PHONY: fault
fault: programs load-tools fault-shims
	@$(PYTEST) $(SIDE_BY_SIDE) tests/fault
	@$(HARNESS) run-all --short --front lighttpd --jobs 3 $(FAULT_ARGS)

# Breaks the code in one place after the other, and wants each break caught.
.PHONY: mutants
mutants: programs load-tools fault-shims
	@$(PYTHON) -B tests/fault/mutants/run.py $(MUTANTS)

# Longer rounds of what `check` does in short.
.PHONY: soak
soak: programs load-tools fault-shims
	@WALCAST_SOAK=1 $(MAKE) --no-print-directory system
	@$(HARNESS) run-all --rounds 3
	@$(HARNESS) run-tag kill --rounds 100

# The promise to a newcomer: a bare Debian root with nothing but make and git.
.PHONY: fresh
fresh:
	@tests/fresh/fresh.sh --check --package

.PHONY: check-deps
check-deps:
	@CC="$(CC)" tests/lint/check-deps.py

.PHONY: lint
lint: $(B)/gen/sql_text.h
	@tests/lint/lint.sh $(B)

SOURCES := $(wildcard $(addsuffix /*.[ch],$(LIB_DIRS) $(PUBD_DIRS) \
             $(FCGI_DIRS) tests/* tests/*/*))
.PHONY: format format-check
format:
	clang-format -i $(SOURCES)
format-check:
	@clang-format --dry-run --Werror $(SOURCES)
	@echo "format-check: all as .clang-format says"

# ---- installing ----------------------------------------------------------------

DESTDIR ?=
LIBDIR  := $(DESTDIR)$(PREFIX)/lib/walcast
BINDIR  := $(DESTDIR)$(PREFIX)/bin
SBINDIR := $(DESTDIR)$(PREFIX)/sbin
MANDIR  := $(DESTDIR)$(PREFIX)/share/man
DOCDIR  := $(DESTDIR)$(PREFIX)/share/doc/walcast

.PHONY: install uninstall
install: programs
	install -d $(LIBDIR) $(BINDIR) $(SBINDIR) $(DOCDIR)/examples \
	    $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man7 $(MANDIR)/man8
	install -m 755 $(B)/bin/sse.fcgi $(B)/bin/sse-metrics.fcgi $(LIBDIR)
	install -m 755 $(B)/bin/walcast $(BINDIR)
	install -m 755 $(B)/bin/pubd $(SBINDIR)
	for n in 1 5 7 8; do \
		install -m 644 docs/man/*.$$n $(MANDIR)/man$$n || exit 1; done
	install -m 644 README.md CHANGELOG.md LICENSE docs/*.md $(DOCDIR)
	for d in images monitoring monitoring/grafana monitoring/runbook; do \
		install -d $(DOCDIR)/$$d && \
		install -m 644 docs/$$d/*.* $(DOCDIR)/$$d || exit 1; done
	install -m 644 apache/*.conf docs/examples/*.* $(DOCDIR)/examples
	install -d $(DOCDIR)/examples/php
	install -m 644 docs/examples/php/*.php $(DOCDIR)/examples/php
	install -d $(DESTDIR)$(PREFIX)/share/walcast/apache
	install -m 644 apache/*.asis $(DESTDIR)$(PREFIX)/share/walcast/apache
	for f in lighttpd/*.conf; do install -m 644 $$f \
		$(DOCDIR)/examples/lighttpd-$${f##*/} || exit 1; done

uninstall:
	rm -rf $(LIBDIR) $(DOCDIR) $(DESTDIR)$(PREFIX)/share/walcast
	rm -f $(BINDIR)/walcast $(SBINDIR)/pubd $(MANDIR)/man1/walcast.1 \
	    $(MANDIR)/man5/access.conf.5 $(MANDIR)/man5/walcast.conf.5 \
	    $(MANDIR)/man7/walcast-protocol.7 \
	    $(MANDIR)/man8/pubd.8 $(MANDIR)/man8/sse.fcgi.8 \
	    $(MANDIR)/man8/sse-metrics.fcgi.8

.PHONY: dist
dist:
	@mkdir -p build
	git archive --prefix=walcast-$(VERSION)/ -o \
	    build/walcast-$(VERSION).tar.gz HEAD
	@echo build/walcast-$(VERSION).tar.gz

# Installs what is missing of a group; says so; nothing when all is there.
# Only this, `make demo` and what runs tests install anything.
.PHONY: deps-%
deps-%:
	@tests/deps.sh $*

.PHONY: clean
clean:
	rm -rf build

.PHONY: help
help:
	@echo "make            build the four programs into build/bin/ (V=1: show how)"
	@echo "make deps-build install what that needs"
	@echo "make demo       everything on loopback, with a live page"
	@echo "make check      install what is missing and run all tests"
	@echo "make soak       the same in longer rounds"
	@echo "make bench      figures side by side with a peer and bare loops"
	@echo "make fuzz T=60  each fuzzer for so many seconds"
	@echo "make fault      break it on purpose; make mutants: break the code"
	@echo "make fuzz-replay, valgrind, valgrind-system, system-tsan"
	@echo "make lint format-check check-deps unit client system"
	@echo "make install PREFIX=/usr DESTDIR=..., uninstall, dist, clean"
