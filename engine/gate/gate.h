/*
 * gate.h - the eBPF programs on switch ports, their maps, and nothing else of the kernel.
 *
 * One set of maps and programs per state, pinned in a bpffs directory. A port's interface index in
 * the switch namespace is the key of its conf, so one program serves all ports. Attaching happens in
 * the caller's current network namespace.
 */
#ifndef BH_GATE_GATE_H
#define BH_GATE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/error.h"
#include "../filter/table.h"
#include "../filter/conf.h"
#include "../filter/flow.h"
#include "../filter/record.h"
#include "../filter/table.h"

struct bh_gate_kernel;

/* Opens what is pinned in `directory`; with `create` loads and pins it if it is not there.
 * -ENOENT without `create`. -EPROTO if what is pinned is another version's (upgrade.h). */
int bh_gate_open(struct bh_gate_kernel **out, const char *directory, bool create,
                 struct bh_error *err);
void bh_gate_close(struct bh_gate_kernel **gate);

/* The program for what an endpoint sends (BH_OUT), at its port's ingress, or is to receive, at its egress: a
 * descriptor, the gate's. */
int bh_gate_program(const struct bh_gate_kernel *gate, enum bh_direction direction);
/* A program that has the interface `to` of its namespace send what another receives: a descriptor, the
 * caller's; or -errno. */
int bh_gate_splice(unsigned to, struct bh_error *err);

/* The conf of the port `ifindex`; packets at a port without one are dropped. */
int bh_gate_conf_put(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                     struct bh_error *err);
int bh_gate_conf_read(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf,
                      struct bh_error *err);
/*
 * What many ports are to enforce: staged for each, then in force for all at once with the commit, or
 * for none. What an earlier change staged and never committed is taken back first.
 */
int bh_gate_conf_unstage(struct bh_gate_kernel *gate, struct bh_error *err);
int bh_gate_conf_stage(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                       struct bh_error *err);
void bh_gate_conf_commit(struct bh_gate_kernel *gate);
/* From now on what others on its network send it is handed to it without the switch, in frames of up to
 * `mtu` bytes of payload. */
int bh_gate_forward_put(struct bh_gate_kernel *gate, uint32_t ifindex, uint32_t mtu,
                        struct bh_error *err);
/* Removes the conf and, of that endpoint, the place in the forwarding table, flows, counters and
 * hits. */
int bh_gate_conf_remove(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_error *err);

int bh_gate_table_put(struct bh_gate_kernel *gate, uint32_t id, const struct bh_table *table,
                      struct bh_error *err);
/* A copy of the bytes, the caller's to free(). */
int bh_gate_table_read(struct bh_gate_kernel *gate, const struct bh_table_ref *ref, void **bytes,
                       struct bh_error *err);
int bh_gate_table_remove(struct bh_gate_kernel *gate, uint32_t id, struct bh_error *err);

/* The account flows are charged to; made with the compartment. */
int bh_gate_share_put(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err);
int bh_gate_share_remove(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err);

int bh_gate_flow_read(struct bh_gate_kernel *gate, const struct bh_flow_key *key,
                      struct bh_flow *flow);
int bh_gate_flow_each(struct bh_gate_kernel *gate,
                      int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *),
                      void *arg, struct bh_error *err);
/* Those of the port `ifindex` alone, by the ledger of its compartment. */
int bh_gate_flow_each_of(struct bh_gate_kernel *gate, uint32_t ifindex,
                         int (*visit)(const struct bh_flow_key *, void *), void *arg,
                         struct bh_error *err);
int bh_gate_counters_read(struct bh_gate_kernel *gate, uint32_t endpoint,
                          struct bh_counters *counters, struct bh_error *err);
/* Forgets what one rule decided at one endpoint. */
void bh_gate_hit_remove(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t rule);
/* Adds what one rule decided to another's, and forgets it. */
void bh_gate_hit_move(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t from, uint32_t to);
int bh_gate_hits_each(struct bh_gate_kernel *gate,
                      int (*visit)(uint32_t endpoint, uint32_t rule, uint64_t packets, void *),
                      void *arg, struct bh_error *err);
/* The account of a compartment; -ENOENT without one. */
int bh_gate_share_read(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_share *share);
/* What all compartments together borrow now. */
void bh_gate_room_read(const struct bh_gate_kernel *gate, struct bh_room *room);
/* The records, as the kernel writes them; they live as long as the gate is open. */
const struct bh_circle *bh_gate_circle(struct bh_gate_kernel *gate);
uint64_t bh_gate_now(void); /* CLOCK_MONOTONIC, as bpf_ktime_get_ns */

/*
 * The verdict of the program itself on `frame` at the port `ifindex`, by BPF_PROG_TEST_RUN; flows it
 * opens are real. For tests. Frames under 14 bytes are -EINVAL: the kernel runs none.
 */
int bh_gate_test_run(struct bh_gate_kernel *gate, uint32_t ifindex, uint8_t direction,
                     const void *frame, uint32_t size, struct bh_verdict *verdict,
                     struct bh_error *err);

#endif
