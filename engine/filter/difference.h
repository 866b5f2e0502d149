/*
 * difference.h - what two gates' rules and defaults make of packets differently, exactly.
 *
 * The answer is a list of classes, disjoint and as few as merging makes them, that together are all
 * packets on which the verdicts differ; each has an example and what decides it on either side.
 * Asked are packets that start anew: flows have no say. What a gate decides before any rule on both
 * sides alike (malformed packets, neighbour discovery, spoofs) is no difference, and a class may run
 * across such packets where that makes it simpler.
 */
#ifndef BH_FILTER_DIFFERENCE_H
#define BH_FILTER_DIFFERENCE_H

#include "diagram.h"

/* Steps: some seconds; 1.6 GiB if all of it went to memory, of which a fifth was seen. */
#define BH_DIFFERENCE_BUDGET 400000000ULL

/* One gate: its identity and defaults, its shared and its own rules. Nothing is owned. */
struct bh_side {
	const struct bh_conf *conf;
	const struct bh_ruleset *rulesets[2]; /* or NULL */
	const struct bh_rule *first;   /* asked before all others, or NULL */
	const struct bh_rule *without; /* left out, or NULL */
	const struct bh_rule *only;    /* not NULL: the gate that allows just what this rule decides */
	bool nothing;                  /* the gate that allows nothing */
};

struct bh_decider {
	uint8_t action; /* enum bh_action; BH_ALLOW for an audited block */
	uint8_t by;     /* BH_BY_RULE, BH_BY_DEFAULT or BH_BY_SPOOF */
	const struct bh_rule *rule;
};

struct bh_difference_class {
	enum bh_change change;
	struct bh_box box;
	struct bh_key example;
	struct bh_decider deciders[2];
};

struct bh_difference {
	size_t count;
	struct bh_difference_class *classes; /* owned: allowed before blocked, inbound before outbound */
	struct bh_diagram *diagram;  /* owned: has the boxes' sets */
	const struct bh_words *words;
};

/* -E2BIG, saying so, if it would take more than the budget. `difference` is zeroed before. */
int bh_difference_init(struct bh_difference *difference, const struct bh_side sides[2], uint64_t budget,
                       struct bh_error *err);
void bh_difference_clear(struct bh_difference *difference);

/* The decider of one key on one side. */
void bh_side_decide(const struct bh_side *side, const struct bh_key *key, struct bh_decider *decider);
/* The rules of a side in the order of precedence; `at` is zeroed before. NULL at the end. */
const struct bh_rule *bh_side_next(const struct bh_side *side, size_t at[2]);

/*
 * A field of a class as text to free(), in the notation of rules; NULL where it is any, or without
 * memory. Fields: direction protocol local local_port remote remote_port icmp. A protocol may be a
 * list, with `!` before what is left out; types of ICMP may be ranges.
 */
char *bh_difference_field(const struct bh_difference *difference, const struct bh_difference_class *class,
                     const char *field);

#endif
