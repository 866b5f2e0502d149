# Bulkhead: build, install, run the scene, test, measure.
#
#   make            builds build/bulkhead (and names what is missing)
#   make run        installs what is missing, builds, plays the scene with real packets
#   make test       installs what is missing, builds, runs every test       (SAN=1: under sanitizers)
#   make bench      installs peers, measures the classifier beside them
#   V=1             shows the commands
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
LIBS    := $(if $(HAVE),$(shell pkg-config --libs $(PKGS))) -lm -ldl

ENGINE  := $(filter-out %.bpf.c,$(wildcard engine/*/*.c engine/*/*/*.c))
BINDINGS := $(wildcard bindings/*.c)
BPF     := $(wildcard engine/gate/*.bpf.c)
OBJS    := $(patsubst %.c,$(B)/%.o,$(ENGINE) $(BINDINGS))
EMBEDS  := $(patsubst %.bpf.c,$(B)/%.bpf.inc,$(BPF))

all: $(B)/bulkhead

$(B)/bulkhead: $(OBJS)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -Wl,-E -o $@ $^ $(LIBS)

$(B)/%.o: %.c | packages
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(ALL_CFLAGS) -I$(B) -MMD -MP -c -o $@ $<

# Test programs in C: each .c below tests/ that has a main of its own.
TESTS   := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/filter/*.c tests/fuzz/*.c tests/support/*.c))
ENGINE_OBJS := $(filter $(B)/engine/%,$(OBJS))

$(B)/tests/%: tests/%.c $(ENGINE_OBJS) $(wildcard tests/support/*.h)
	@mkdir -p $(@D)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -I$(B) -o $@ $< $(ENGINE_OBJS) $(LIBS)

tests: $(B)/bulkhead $(TESTS)

# Peers are linked where they are installed; `make bench` installs them.
DPDK    := $(shell pkg-config --exists libdpdk 2>/dev/null && echo yes)
BENCHES := $(patsubst %.c,$(B)/%.o,$(filter-out tests/bench/generate.c,$(wildcard tests/bench/*.c)))

$(B)/tests/bench/acl.o: ALL_CFLAGS += $(if $(DPDK),-DBH_HAVE_DPDK $(shell pkg-config --cflags libdpdk))

$(B)/bench-classifier: $(BENCHES) $(filter $(B)/engine/base/% $(B)/engine/filter/%,$(ENGINE_OBJS))
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(if $(DPDK),-Wl$(,)--as-needed $(shell pkg-config --libs libdpdk)) -lm

# The lookup in the kernel, for root.
$(B)/bench-gate: tests/bench/gate/bench.c $(B)/tests/bench/gate/lookup.bpf.inc $(B)/tests/bench/classbench.o \
                 $(B)/tests/bench/linear.o $(ENGINE_OBJS)
	$(CC) $(ALL_CFLAGS) -I$(B) -o $@ $(filter %.c %.o,$^) $(LIBS)

# Only kernel uapi headers; the triplet's directory holds asm/. The bytes become a C initializer.
$(B)/%.bpf.o: %.bpf.c | packages
	@mkdir -p $(@D)
	@echo "  BPF $<"
	$(Q)$(CLANG) -O2 -g -target bpf -mcpu=v3 -ffreestanding -Wall -Wno-unused-function -D__bpf__ \
	  -I/usr/include/$(shell $(CC) -print-multiarch) -MMD -MP -c -o $@ $<

$(B)/%.bpf.inc: $(B)/%.bpf.o
	$(Q)od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g' > $@

$(filter $(B)/engine/gate/%.o $(B)/engine/platform/%.o,$(OBJS)): | $(EMBEDS)
-include $(OBJS:.o=.d) $(B)/tests/bench/gate/lookup.bpf.d $(BENCHES:.o=.d) $(patsubst %.bpf.c,$(B)/%.bpf.d,$(BPF))
$(B)/engine/gate/gate.o $(B)/engine/gate/splice.o: $(EMBEDS)

# One line for what is missing, instead of a compiler's complaints.
packages:
	@for c in $(BUILDS); do command -v $$c >/dev/null || miss="$$miss $$c"; done; \
	for p in $(PKGS); do pkg-config --exists $$p 2>/dev/null || miss="$$miss $$p"; done; \
	[ -z "$$miss" ] || { echo "make: missing:$$miss (scripts/install-packages.sh installs them)" >&2; exit 1; }

setup:
	@sh scripts/install-packages.sh
	@$(MAKE) --no-print-directory $(or $(GOAL),all)

run: setup
	@$(B)/bulkhead run scripts/scene.lua --linux

test:
	@$(MAKE) --no-print-directory setup GOAL=tests
	@sh tests/run.sh $(B)

# Every classifier beside its peers, over generated sets; RULES=… TRACE=… for one of your own.
SETS    := container:50 container:200 acl:1000 fw:1000 ipc:1000 acl:10000 fw:10000 ipc:10000 acl6:1000 acl6:10000 \
           wildcard:1000 nested:1000 remote:10000 acl:100000 fw:100000 ipc:100000

GATE_SETS := container:10 acl:10 container:100 acl:100 fw:100 ipc:100

$(B)/generate: $(B)/tests/bench/generate.o
	$(CC) $(ALL_CFLAGS) -o $@ $^

bench: setup
	@pkg-config --exists libdpdk || apt-get install -y libdpdk-dev >/dev/null || echo "make bench: without rte_acl"
	@$(MAKE) --no-print-directory $(B)/bench-classifier $(B)/generate $(B)/bench-gate
	@$(if $(RULES),$(B)/bench-classifier $(RULES) $(TRACE) && $(B)/bench-gate $(RULES) $(TRACE),\
	  for s in $(SETS); do echo "== $$s"; \
	  $(B)/generate $${s%:*} $${s#*:} 1 $(B)/bench.rules $(B)/bench.trace && \
	  $(B)/bench-classifier $(B)/bench.rules $(B)/bench.trace && \
	  { [ $$(id -u) != 0 ] || $(B)/bench-gate $(B)/bench.rules $(B)/bench.trace; } || exit 1; done)
	@[ $$(id -u) != 0 ] || for s in $(GATE_SETS); do echo "== $$s"; \
	  $(B)/generate $${s%:*} $${s#*:} 1 $(B)/bench.rules $(B)/bench.trace && \
	  $(B)/bench-gate $(B)/bench.rules $(B)/bench.trace || exit 1; done

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/bulkhead $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(B)/bulkhead $(DESTDIR)$(PREFIX)/bin/bulkhead
	cp -R scripts policies $(DESTDIR)$(PREFIX)/share/bulkhead/
	install -d $(DESTDIR)$(PREFIX)/share/bulkhead/types
	cp bindings/types/*.lua $(DESTDIR)$(PREFIX)/share/bulkhead/types/
	install -m 644 scripts/bulkhead.8 $(DESTDIR)$(PREFIX)/share/man/man8/bulkhead.8

clean:
	rm -rf build build-san

.PHONY: all tests packages setup run test bench install clean
.SECONDARY:
