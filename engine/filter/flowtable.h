/*
 * flowtable.h - the rows of flow.h in user space: for the memory platform and for `explain`.
 */
#ifndef BH_FILTER_FLOWTABLE_H
#define BH_FILTER_FLOWTABLE_H

#include "flow.h"

struct bh_flow_table;

int bh_flow_table_new(struct bh_flow_table **out, uint64_t capacity, struct bh_error *err);
void bh_flow_table_free(struct bh_flow_table **table);

/* The account of a compartment; flows of one without an account are refused. 0 if it exists. */
int bh_flow_table_add_share(struct bh_flow_table *table, uint32_t compartment,
                            struct bh_error *err);
/* Removes a compartment's account. Its flows must be gone. */
void bh_flow_table_remove_share(struct bh_flow_table *table, uint32_t compartment);
/* Forgets all flows of an endpoint. */
void bh_flow_table_forget(struct bh_flow_table *table, uint32_t endpoint);

/* -ENOENT if there is no such account. */
int bh_flow_table_share(const struct bh_flow_table *table, uint32_t compartment, struct bh_share *share,
                        struct bh_room *room);
/* Replaces account and room by those of another table, whose flows of the compartment follow with
 * bh_flow_table_put(): a copy that gives up flows as the original would. */
int bh_flow_table_set_share(struct bh_flow_table *table, uint32_t compartment,
                            const struct bh_share *share, const struct bh_room *room);
int bh_flow_table_put(struct bh_flow_table *table, const struct bh_flow_key *key,
                      const struct bh_flow *flow);
int bh_flow_table_each(const struct bh_flow_table *table,
                       int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *),
                       void *arg);

#endif
