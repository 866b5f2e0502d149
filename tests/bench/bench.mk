# bench.mk - what is measured, part of the Makefile: us and peers side by side in one go, each answer
# checked. Peers are installed by the target that wants them and left out, with a word, if they cannot be.
#
#   make bench              all of it: tables, and the same as build/bench-*.json
#   make bench-classifier   the evaluator in process; RULES=… TRACE=… for files of one's own
#   make bench-gate         its lookup in the kernel, for root; RULES=… TRACE=… likewise; GATE_SETS=…
#   make bench-path         a packet between two containers; floods of flows
#   make bench-lifecycle    an endpoint brought up and taken down; another policy for a thousand
#   make bench-policy       replay, and the difference of two policies

DPDK    := $(shell pkg-config --exists libdpdk 2>/dev/null && echo yes)
BENCHES := $(patsubst %.c,$(B)/%.o,$(filter-out tests/bench/generate.c tests/bench/flows.c tests/bench/reload.c,$(wildcard tests/bench/*.c)))

-include $(wildcard $(B)/tests/bench/*.d) $(B)/tests/bench/gate/lookup.bpf.d

$(B)/tests/bench/acl.o: ALL_CFLAGS += $(if $(DPDK),-DBH_HAVE_DPDK $(shell pkg-config --cflags libdpdk))

$(B)/bench-classifier: $(BENCHES) $(filter $(B)/engine/base/% $(B)/engine/filter/%,$(ENGINE_OBJS))
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(if $(DPDK),-Wl$(,)--as-needed $(shell pkg-config --libs libdpdk)) -lm

$(B)/generate: $(B)/tests/bench/generate.o
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^

$(B)/bench-gate: tests/bench/gate/bench.c $(B)/tests/bench/gate/lookup.bpf.inc $(B)/tests/bench/classbench.o \
                 $(B)/tests/bench/linear.o $(ENGINE_OBJS)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -I$(B) -o $@ $(filter %.c %.o,$^) $(LIBS)

$(B)/bench-flows $(B)/bench-reload: $(B)/bench-%: $(B)/tests/bench/%.o $(ENGINE_OBJS)
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

bench: bench-classifier bench-gate bench-path bench-lifecycle bench-policy

bench-classifier: setup
	@pkg-config --exists libdpdk || apt-get install -y libdpdk-dev >/dev/null || echo "make $@: without rte_acl"
	@$(MAKE) --no-print-directory $(B)/bench-classifier $(B)/generate
	@$(if $(RULES),$(B)/bench-classifier $(RULES) $(TRACE),\
	  $(B)/bulkhead run tests/bench/table.lua $(B) --json $(B)/bench-classifier.json $(SETS))

bench-gate: setup
	@$(MAKE) --no-print-directory $(B)/bench-gate $(B)/generate
	@if [ $$(id -u) != 0 ]; then echo "make $@: only root may run it"; else \
	  $(if $(RULES),$(B)/bench-gate $(RULES) $(TRACE),\
	    $(B)/bulkhead run tests/bench/gate.lua $(B) --json $(B)/bench-gate.json $(GATE_SETS)); fi

bench-path: setup
	@$(MAKE) --no-print-directory tests $(B)/bench-flows
	@$(B)/bulkhead run tests/bench/path.lua --json $(B)/bench-path.json
	@$(B)/bench-flows --json $(B)/bench-flows.json

bench-lifecycle: setup
	@[ -x /usr/lib/cni/bridge ] && [ -x /usr/lib/podman/netavark ] || \
	  apt-get install -y containernetworking-plugins netavark >/dev/null || echo "make $@: without peers"
	@$(MAKE) --no-print-directory $(B)/bench-reload
	@$(B)/bench-reload --json $(B)/bench-reload.json
	@$(B)/bulkhead run tests/bench/lifecycle.lua --json $(B)/bench-lifecycle.json

bench-policy: setup
	@$(B)/bulkhead run tests/bench/policy.lua --json $(B)/bench-policy.json

.PHONY: bench bench-classifier bench-gate bench-path bench-lifecycle bench-policy
