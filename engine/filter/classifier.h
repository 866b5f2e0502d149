/*
 * classifier.h - the winning rule of many, fast.
 *
 * A builder takes rules in and out and publishes classifiers: immutable, to be read by any number of
 * threads while the builder goes on, freed with the last reference. The answer is always that of
 * bh_ruleset_lookup(). A lookup gives a place, which is a rule's index in its classifier.
 */
#ifndef BH_FILTER_CLASSIFIER_H
#define BH_FILTER_CLASSIFIER_H

#include "ruleset.h"
#include "table.h"

#define BH_PLACE_NONE 0x7fffffffu

struct bh_builder;
struct bh_classifier;

/* `words` are what keywords stand for, copied; NULL = they match nothing. */
int bh_builder_new(struct bh_builder **out, const struct bh_words *words, struct bh_error *err);
void bh_builder_free(struct bh_builder **builder);
/* After the rules of equal precedence that came before it. The rule is only read. -EEXIST: its id. */
int bh_builder_insert(struct bh_builder *builder, const struct bh_rule *rule, struct bh_error *err);
int bh_builder_delete(struct bh_builder *builder, uint32_t id, struct bh_error *err); /* -ENOENT */
int bh_builder_publish(struct bh_builder *builder, struct bh_classifier **out,
                       struct bh_error *err);

/* A whole set at once, once: smaller and faster than what a builder publishes. */
int bh_classifier_build(struct bh_classifier **out, const struct bh_ruleset *ruleset,
                        struct bh_error *err);
struct bh_classifier *bh_classifier_ref(struct bh_classifier *classifier);
void bh_classifier_free(struct bh_classifier **classifier); /* drops one reference */

/* What a classifier starts with: a lookup is worth no more than one call. */
struct bh_lookup {
	uint32_t (*one)(const struct bh_classifier *classifier, const struct bh_key *key);
};

static inline uint32_t bh_classifier_lookup(const struct bh_classifier *classifier, const struct bh_key *key)
{
	return ((const struct bh_lookup *)classifier)->one(classifier, key);
}

void bh_classifier_lookup_batch(const struct bh_classifier *classifier, const struct bh_key *keys,
                                uint32_t count, uint32_t *places);
const struct bh_entry *bh_classifier_at(const struct bh_classifier *classifier, uint32_t place);
size_t bh_classifier_bytes(const struct bh_classifier *classifier); /* all it holds */

/* The instruction sets there are, best first, NULL at the end; the first that runs here is used. */
extern const char *const bh_classifier_variants[];
/* Looks up with another one, before other threads know the classifier. -ENOTSUP. */
int bh_classifier_set_variant(struct bh_classifier *classifier, const char *name);

#endif
