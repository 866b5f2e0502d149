/*
 * barrier.h - the gate of a port in the memory platform: the evaluator, what it reads and counts.
 */
#ifndef BH_PLATFORM_MEMORY_BARRIER_H
#define BH_PLATFORM_MEMORY_BARRIER_H

#include "segment.h"

/* Whether the frame passes the gate of `port`, if it has one; counts it. */
bool bh_barrier_pass(struct bh_memory *memory, struct bh_port *port, enum bh_direction direction,
                  const struct bh_frame *frame);
/* Makes `gate` what the port enforces. */
int bh_barrier_set(struct bh_memory *memory, struct bh_port *port, const struct bh_gate *gate,
                struct bh_error *err);
/* Forgets the flows and hits of a port. */
void bh_barrier_forget(struct bh_memory *memory, struct bh_port *port);
void bh_barrier_free_tables(struct bh_memory *memory);

/* Operations of struct bh_platform_ops. */
int bh_barrier_table_publish(struct bh_platform *, uint32_t id, const struct bh_table *,
                             struct bh_error *);
int bh_barrier_hit_remove(struct bh_platform *, uint32_t endpoint, uint32_t rule, struct bh_error *);
int bh_barrier_hit_move(struct bh_platform *, uint32_t endpoint, uint32_t from, uint32_t to, struct bh_error *);
int bh_barrier_share_read(struct bh_platform *, uint32_t compartment, struct bh_share *, struct bh_room *,
                          struct bh_error *);
const struct bh_circle *bh_barrier_records(struct bh_platform *);
int bh_barrier_begin(struct bh_platform *, struct bh_error *);
int bh_barrier_stage(struct bh_platform *, const struct bh_conf *, struct bh_error *);
int bh_barrier_commit(struct bh_platform *, struct bh_error *);
int bh_barrier_read(struct bh_platform *, uint32_t endpoint, struct bh_conf *, struct bh_error *);
int bh_barrier_table_remove(struct bh_platform *, uint32_t id, struct bh_error *);
int bh_barrier_table_read(struct bh_platform *, const struct bh_table_ref *, void **bytes,
                          struct bh_error *);
int bh_barrier_flow_read(struct bh_platform *, const struct bh_flow_key *, struct bh_flow *);
int bh_barrier_flow_each(struct bh_platform *, bh_flow_visitor *, void *, struct bh_error *);
int bh_barrier_counters_read(struct bh_platform *, uint32_t endpoint, struct bh_counters *,
                          struct bh_error *);
int bh_barrier_hits_each(struct bh_platform *, bh_hit_visitor *, void *, struct bh_error *);

#endif
