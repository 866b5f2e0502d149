/*
 * evaluate.h - verdicts in user space, by the text of verdict.h.
 */
#ifndef BH_FILTER_EVALUATE_H
#define BH_FILTER_EVALUATE_H

#include "flowtable.h"
#include "table.h"

/*
 * The verdict on env->frame at the gate of `conf`; flows are opened in env->flows. `packet` may be
 * NULL; else it is what was parsed.
 */
void bh_evaluate(struct bh_env *env, const struct bh_conf *conf, enum bh_direction direction,
                 struct bh_packet *packet, struct bh_verdict *verdict);

/* The same of a plain packet of a live flow, as the gate judges it; false: bh_evaluate() must. */
bool bh_evaluate_express(struct bh_env *env, const struct bh_conf *conf, enum bh_direction direction,
                         struct bh_verdict *verdict);

/* Parses env->frame alone. */
void bh_evaluate_parse(struct bh_env *env, enum bh_direction direction, struct bh_packet *packet);

/* The winning entry of one compiled table: 1, or 0 if none matches. */
int bh_table_lookup(const struct bh_table *table, const struct bh_key *key, struct bh_entry *entry);

/* Whether the address is one of the endpoint's own; whether it is a broadcast address of its subnets. */
bool bh_conf_owns(const struct bh_conf *conf, const struct bh_address *address);
bool bh_conf_broadcasts(const struct bh_conf *conf, const struct bh_address *address);

/* Adds the verdict to an endpoint's counters. */
void bh_counters_add(struct bh_counters *counters, enum bh_direction direction,
                     const struct bh_verdict *verdict, uint32_t size);

const char *bh_by_name(enum bh_by by);         /* "flow", "rule", … */
const char *bh_action_name(enum bh_action action); /* "allow", "block" */
const char *bh_direction_name(enum bh_direction direction); /* "inbound", "outbound" */

/* A conf with DESIGN 3.1's defaults, everything allowed, for endpoint 0. */
void bh_conf_init(struct bh_conf *conf);
extern const char *const bh_timeout_names[BH_TIMEOUT_COUNT]; /* as in a policy */

#endif
