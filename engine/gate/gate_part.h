/*
 * gate_part.h - what the parts of the gate's loader share: gate.c, gate_ports.c, gate_flows.c.
 */
#ifndef BH_GATE_GATE_PART_H
#define BH_GATE_GATE_PART_H

#include "chunks.h"
#include "gate.h"
#include "maps.h"

enum {
	PORTS, STATE, SPOTS, CHUNKS_1M, CHUNKS_8M, CHUNKS_64M, FLOWS, MEMOS, REMOVALS, LEDGER, SHARES, ROOMS, FORWARDS,
	COUNTS, PENDING, HITS, RECORDS, MAPS
};
enum { GATE_OUT, GATE_IN, GATE_PROBE, GATE_FORGET, PROGRAMS };

/* A map's rows of all processors: its own memory. */
struct bh_own_rows {
	void *memory; /* NULL: not asked for yet */
	size_t size;
	uint32_t processors;
};

struct bh_gate_kernel {
	int maps[MAPS];
	int programs[PROGRAMS];
	struct bh_chunks chunks;
	struct bh_state *state; /* the map's own memory: packets read it at the same time */
	struct bh_room *room;   /* likewise: the kernel counts in it */
	const struct bh_circle *circle; /* likewise, mapped when first asked for */
	struct bh_own_rows memos, pending; /* likewise */
};

/* For how many processors a map has values; or -errno, where /sys does not say. */
int bh_gate_processors(struct bh_error *err);
/* What processors remember of flows, BH_FLOW_MEMOS rows each. -errno, without a word. */
int bh_gate_memos(struct bh_gate_kernel *gate, const struct bh_flow_memo **memos, uint32_t *processors);
/* All rows of a map, many at a time; `visit` returns non-zero to stop, which is then returned. */
int bh_gate_map_each(int fd, size_t key_size, size_t value_size,
                     int (*visit)(const void *key, const void *value, void *arg), void *arg, struct bh_error *err);
/* The conf in force at a port. -errno, without a word. */
int bh_gate_conf_get(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf);
/* The kernel forgets an endpoint's flows, with the accounts that it may be charging at this moment. */
int bh_gate_forget_flows(struct bh_gate_kernel *gate, const struct bh_conf *conf, struct bh_error *err);

#endif
