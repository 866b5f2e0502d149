/*
 * ruleset.c - see ruleset.h. Rules are sorted when first asked for after an addition.
 */
#include "ruleset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bh_ruleset {
	struct bh_rule *rules; /* owned */
	size_t *order;         /* indexes of rules, by precedence; valid if `sorted` */
	size_t count;
	size_t room;
	bool sorted;
	bool has_words;
	struct bh_words words;
};

int bh_ruleset_new(struct bh_ruleset **out, struct bh_error *err)
{
	struct bh_ruleset *ruleset = calloc(1, sizeof(*ruleset));

	if (!ruleset)
		return bh_error_set(err, -ENOMEM, "not enough memory for a ruleset");
	ruleset->sorted = true;
	*out = ruleset;
	return 0;
}

void bh_ruleset_free(struct bh_ruleset **ruleset)
{
	if (!*ruleset)
		return;
	for (size_t i = 0; i < (*ruleset)->count; i++)
		bh_rule_clear(&(*ruleset)->rules[i]);
	free((*ruleset)->rules);
	free((*ruleset)->order);
	free(*ruleset);
	*ruleset = NULL;
}

int bh_ruleset_add(struct bh_ruleset *ruleset, struct bh_rule *rule, struct bh_error *err)
{
	size_t room = ruleset->room ? ruleset->room * 2 : 16;
	struct bh_rule *rules;
	size_t *order;

	if (ruleset->count == ruleset->room) {
		rules = realloc(ruleset->rules, room * sizeof(*rules));
		if (rules)
			ruleset->rules = rules;
		order = realloc(ruleset->order, room * sizeof(*order));
		if (order)
			ruleset->order = order;
		if (!rules || !order)
			return bh_error_set(err, -ENOMEM, "not enough memory for %zu rules", room);
		ruleset->room = room;
	}
	ruleset->rules[ruleset->count++] = *rule;
	ruleset->sorted = false;
	bh_rule_init(rule, BH_ALLOW, BH_IN);
	return 0;
}

void bh_ruleset_set_words(struct bh_ruleset *ruleset, const struct bh_words *words)
{
	ruleset->words = *words;
	ruleset->has_words = true;
}

const struct bh_words *bh_ruleset_words(const struct bh_ruleset *ruleset)
{
	return ruleset->has_words ? &ruleset->words : NULL;
}

size_t bh_ruleset_count(const struct bh_ruleset *ruleset)
{
	return ruleset->count;
}

static int by_precedence(const void *a, const void *b, void *arg)
{
	const struct bh_ruleset *ruleset = arg;
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	const struct bh_rule *x = &ruleset->rules[i], *y = &ruleset->rules[j];

	if (bh_rule_precedes(x, y))
		return -1;
	if (bh_rule_precedes(y, x))
		return 1;
	return i < j ? -1 : i > j;
}

const struct bh_rule *bh_ruleset_at(const struct bh_ruleset *ruleset, size_t index)
{
	/* Sorting is a cache: the set means the same before and after. */
	struct bh_ruleset *cache = (struct bh_ruleset *)ruleset;

	if (!ruleset->sorted) {
		for (size_t i = 0; i < ruleset->count; i++)
			cache->order[i] = i;
		qsort_r(cache->order, ruleset->count, sizeof(*ruleset->order), by_precedence, cache);
		cache->sorted = true;
	}
	return &ruleset->rules[ruleset->order[index]];
}

const struct bh_rule *bh_ruleset_find(const struct bh_ruleset *ruleset, uint32_t id)
{
	for (size_t i = 0; i < ruleset->count; i++)
		if (ruleset->rules[i].id == id)
			return &ruleset->rules[i];
	return NULL;
}

const struct bh_rule *bh_ruleset_lookup(const struct bh_ruleset *ruleset, const struct bh_key *key)
{
	const struct bh_words *words = bh_ruleset_words(ruleset);

	for (size_t i = 0; i < ruleset->count; i++) {
		const struct bh_rule *rule = bh_ruleset_at(ruleset, i);

		if (bh_rule_matches(rule, words, key))
			return rule;
	}
	return NULL;
}
