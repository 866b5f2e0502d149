/*
 * ruleset.h - rules in the order of precedence, evaluated one after the other.
 *
 * The plain, obviously right evaluator: everything faster is held to its answers. Also what a
 * classifier is compiled from.
 */
#ifndef BH_FILTER_RULESET_H
#define BH_FILTER_RULESET_H

#include "rule.h"

struct bh_ruleset;

int bh_ruleset_new(struct bh_ruleset **out, struct bh_error *err);
void bh_ruleset_free(struct bh_ruleset **ruleset);

/* Moves the rule into the set (`rule` is left initialised and empty). Ids must be unique and not 0. */
int bh_ruleset_add(struct bh_ruleset *ruleset, struct bh_rule *rule, struct bh_error *err);
/* The words the rules' keywords stand for; without, they match nothing. */
void bh_ruleset_set_words(struct bh_ruleset *ruleset, const struct bh_words *words);
const struct bh_words *bh_ruleset_words(const struct bh_ruleset *ruleset);

size_t bh_ruleset_count(const struct bh_ruleset *ruleset);
/* In the order of precedence: lower priority, then block before allow, then the order of adding. */
const struct bh_rule *bh_ruleset_at(const struct bh_ruleset *ruleset, size_t index);
const struct bh_rule *bh_ruleset_find(const struct bh_ruleset *ruleset, uint32_t id);

/* The rule that wins, or NULL. */
const struct bh_rule *bh_ruleset_lookup(const struct bh_ruleset *ruleset, const struct bh_key *key);

#endif
