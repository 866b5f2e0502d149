# Bulkhead: build, install, run the scene, test, measure.
#
#   make            builds build/bulkhead (and names what is missing)
#   make run        installs what is missing, builds, plays the scene with real packets
#   make test       installs what is missing, builds, runs every test       (SAN=1: under sanitizers)
#   make bench      installs peers, measures everything beside them (tests/bench/bench.mk)
#   V=1             shows the commands;  SHARED=1 links all libraries as shared ones
#   make install    PREFIX=/usr/local DESTDIR=

PREFIX  ?= /usr/local
CC      ?= cc
CLANG   ?= clang
LUA     ?= lua5.4
VERSION := 0.1.0

Q       := $(if $(V),,@)
B       := $(if $(SAN),build-san,build)
, := ,
SANFLAGS := $(if $(SAN),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)

PKGS    := lua5.4 libmnl libbpf libnftables sqlite3 libpcap
BUILDS  := cc $(CLANG) pkg-config
HAVE    := $(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes)
CFLAGS  ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-missing-field-initializers -Wno-format-truncation \
           -D_GNU_SOURCE -DBH_VERSION='"$(VERSION)"' -DBH_PREFIX='"$(PREFIX)"' \
           $(if $(HAVE),$(shell pkg-config --cflags $(PKGS))) $(CFLAGS) $(SANFLAGS)
# Two are loaded when they are first called (engine/base/late.h), by the names that linking would use.
LATE    := libnftables libpcap
LIBS    := $(if $(HAVE),$(shell pkg-config --libs $(filter-out $(LATE),$(PKGS)))) -lm -ldl
# What has an archive is linked in: a hook's process lives ten milliseconds, one of which would be the dynamic
# linker's. SHARED=1 links everything as it is shared. Lua is there whole, and exported: modules in C call it.
archive  = $(if $(SHARED),,$(filter /%,$(shell $(CC) -print-file-name=lib$(1).a)))
linked   = $(or $(call archive,$(1)),-l$(1))
# libbpf's own needs; where they are not all known, its archive is linked with them shared.
ELF     := $(or $(shell pkg-config --static --libs-only-l libelf 2>/dev/null),-lelf -lz)
MAINLIBS = $(call linked,sqlite3) $(call linked,bpf) -Wl,--whole-archive $(call linked,lua5.4) -Wl,--no-whole-archive \
           $(filter-out -lsqlite3 -lbpf -llua5.4,$(LIBS)) $(foreach l,$(ELF),$(call linked,$(l:-l%=%)))
soname   = $(shell LC_ALL=C objdump -p $$($(CC) -print-file-name=$(1)) 2>/dev/null | sed -n 's/^ *SONAME *//p')
$(B)/engine/platform/linux/nftables.o $(B)/older/engine/platform/linux/nftables.o: ALL_CFLAGS += -DBH_NFTABLES_SO='"$(or $(call soname,libnftables.so),libnftables.so.1)"'
$(B)/bindings/capture.o $(B)/older/bindings/capture.o: ALL_CFLAGS += -DBH_PCAP_SO='"$(or $(call soname,libpcap.so),libpcap.so.1)"'

ENGINE  := $(filter-out %.bpf.c,$(wildcard engine/*/*.c engine/*/*/*.c))
BINDINGS := $(wildcard bindings/*.c)
BPF     := $(wildcard engine/gate/*.bpf.c)
OBJS    := $(patsubst %.c,$(B)/%.o,$(ENGINE) $(BINDINGS))
EMBEDS  := $(patsubst %.bpf.c,$(B)/%.bpf.inc,$(BPF))

all: $(B)/bulkhead

$(B)/bulkhead: $(OBJS)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -Wl,--export-dynamic-symbol='lua*' -o $@ $^ $(MAINLIBS)

$(B)/%.o: %.c | packages
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(ALL_CFLAGS) -I$(B) -MMD -MP -c -o $@ $<

# Scripts, and what of Lua's own they always need, as bytecode (bindings/chunks.h).
SCRIPTS := $(sort $(wildcard scripts/*.lua scripts/commands/*.lua)) \
           $(firstword $(wildcard $(addsuffix /dkjson.lua,/usr/local/share/lua/5.4 /usr/share/lua/5.4)))

$(B)/compile: bindings/compile/compile.c bindings/chunks.h | packages
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(call linked,lua5.4) $(filter-out -llua5.4,$(LIBS))

$(B)/bindings/chunks.inc: $(B)/compile $(SCRIPTS)
	@mkdir -p $(@D)
	@echo "  LUA $@"
	$(Q)$(B)/compile $(SCRIPTS) > $@.new && mv $@.new $@

$(B)/bindings/chunks.o $(B)/older/bindings/chunks.o: $(B)/bindings/chunks.inc
$(B)/bindings/chunks.o $(B)/older/bindings/chunks.o: ALL_CFLAGS += $(if $(call archive,lua5.4),-DBH_LUA_LINKED)

# Test programs in C: each .c below tests/ that has a main of its own.
TESTS   := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/filter/*.c tests/fuzz/*.c tests/host/*.c tests/support/*.c))
ENGINE_OBJS := $(filter $(B)/engine/%,$(OBJS))

$(B)/tests/%: tests/%.c $(ENGINE_OBJS) $(wildcard tests/support/*.h)
	@mkdir -p $(@D)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -I$(B) -o $@ $< $(ENGINE_OBJS) $(LIBS)

# The evaluator's plain variant on another processor, run by qemu-user; on arm64 the tests above are it.
ARM64   := $(if $(filter x86_64,$(shell uname -m)),aarch64-linux-gnu-gcc)
ARM64_SOURCES := tests/filter/classifier.c $(filter-out %/late.c,$(wildcard engine/base/*.c engine/filter/*.c))
ARM64_OBJS := $(patsubst %.c,$(B)/arm64/%.o,$(ARM64_SOURCES))

$(B)/arm64/%.o: %.c
	@mkdir -p $(@D)
	@echo "  ARM64 $<"
	$(Q)$(ARM64) -std=gnu11 -O2 -D_GNU_SOURCE -MMD -MP -c -o $@ $<

$(B)/arm64/classifier: $(ARM64_OBJS)
	$(Q)$(ARM64) -static -o $@ $^ -lm

# An older version as far as upgrades go: its gate has another number, and a conf of another size.
OLDER   := -DBH_ABI=3 -DBH_ADDRESSES_MAX=4
OLDER_OBJS := $(patsubst $(B)/%,$(B)/older/%,$(OBJS))

$(B)/older/%.o: %.c | packages
	@mkdir -p $(@D)
	@echo "  OLDER $<"
	$(Q)$(CC) $(ALL_CFLAGS) $(OLDER) -I$(B)/older -I$(B) -MMD -MP -c -o $@ $<

$(B)/bulkhead-older: $(OLDER_OBJS)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -Wl,--export-dynamic-symbol='lua*' -o $@ $^ $(MAINLIBS)

tests: $(B)/bulkhead $(if $(SAN),,$(B)/bulkhead-older) $(TESTS) $(if $(shell command -v $(or $(ARM64),none)),$(B)/arm64/classifier)

# Only kernel uapi headers; the triplet's directory holds asm/. The bytes become a C initializer.
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -ffreestanding -Wall -Wno-unused-function -D__bpf__ \
              -I/usr/include/$(shell $(CC) -print-multiarch) -MMD -MP

$(B)/%.bpf.o: %.bpf.c | packages
	@mkdir -p $(@D)
	@echo "  BPF $<"
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/older/%.bpf.o: %.bpf.c | packages
	@mkdir -p $(@D)
	@echo "  BPF $(OLDER) $<"
	$(Q)$(CLANG) $(BPF_CFLAGS) $(OLDER) -c -o $@ $<

$(B)/%.bpf.inc: $(B)/%.bpf.o
	$(Q)od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g' > $@

$(filter $(B)/engine/gate/%.o $(B)/engine/platform/%.o,$(OBJS)): | $(EMBEDS)
-include $(OBJS:.o=.d) $(OLDER_OBJS:.o=.d) $(patsubst %.bpf.c,$(B)/older/%.bpf.d,$(BPF)) $(ARM64_OBJS:.o=.d) $(patsubst %.bpf.c,$(B)/%.bpf.d,$(BPF))
$(B)/engine/gate/gate.o $(B)/engine/gate/splice.o: $(EMBEDS)
$(B)/older/engine/gate/gate.o $(B)/older/engine/gate/splice.o: $(patsubst $(B)/%,$(B)/older/%,$(EMBEDS))

# One line for what is missing, instead of a compiler's complaints.
packages:
	@for c in $(BUILDS); do command -v $$c >/dev/null || miss="$$miss $$c"; done; \
	for p in $(PKGS); do pkg-config --exists $$p 2>/dev/null || miss="$$miss $$p"; done; \
	[ -z "$$miss" ] || { echo "make: missing:$$miss (scripts/install-packages.sh installs them)" >&2; exit 1; }

setup:
	@GOAL=$(GOAL) sh scripts/install-packages.sh
	@$(MAKE) --no-print-directory $(or $(GOAL),all)

run: setup
	@$(B)/bulkhead run scripts/scene.lua --linux

test:
	@$(MAKE) --no-print-directory setup GOAL=tests
	@sh tests/run.sh $(B)

include tests/bench/bench.mk

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/bulkhead $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(B)/bulkhead $(DESTDIR)$(PREFIX)/bin/bulkhead
	cp -R scripts policies $(DESTDIR)$(PREFIX)/share/bulkhead/
	install -d $(DESTDIR)$(PREFIX)/share/bulkhead/types
	cp bindings/types/*.lua $(DESTDIR)$(PREFIX)/share/bulkhead/types/
	install -m 644 scripts/bulkhead.8 $(DESTDIR)$(PREFIX)/share/man/man8/bulkhead.8

clean:
	rm -rf build build-san

.PHONY: all tests packages setup run test install clean
.SECONDARY:
