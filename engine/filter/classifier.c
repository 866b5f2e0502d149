/*
 * classifier.c - lookups in what a builder has published: see classifier.h and lookup.h.
 */
#include "classifier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "space.h"

_Static_assert(BH_PLACE_NONE == BH_LABEL_NONE, "a place is a label");
_Static_assert(sizeof(struct bh_key) == 40 && offsetof(struct bh_key, local_port) == 32,
               "the last eight bytes of a key are its second word");

const char *const bh_classifier_variants[] = {
#ifdef __x86_64__
	"avx512", "avx2",
#endif
	"plain", NULL,
};

static const struct bh_variant *variant_of(const char *name)
{
#ifdef __x86_64__
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");

	if (!strcmp(name, "avx512") && avx2 && __builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
		return &bh_avx512_variant;
	if (!strcmp(name, "avx2") && avx2)
		return &bh_avx2_variant;
#endif
	return strcmp(name, "plain") ? NULL : &bh_plain_variant;
}

const struct bh_variant *bh_variant_best(void)
{
	const struct bh_variant *variant = NULL;

	for (int i = 0; !variant; i++)
		variant = variant_of(bh_classifier_variants[i]);
	return variant;
}

int bh_classifier_set_variant(struct bh_classifier *classifier, const char *name)
{
	const struct bh_variant *variant = variant_of(name);

	if (!variant)
		return -ENOTSUP;
	classifier->variant = variant;
	return 0;
}

/* Local and remote port, protocol; then direction and family, which choose the space. */
static inline uint64_t second_word(const struct bh_key *key)
{
	return (uint64_t)key->local_port | (uint64_t)key->remote_port << 16 | (uint64_t)key->protocol << 32;
}

static inline uint64_t first_word(const struct bh_space *space, const struct bh_key *key)
{
	if (!key->v6)
		return (key->local.lo & 0xffffffff) | key->remote.lo << 32;
	return bh_rank(&space->ranks[0], &key->local) | (uint64_t)bh_rank(&space->ranks[1], &key->remote) << 32;
}

/* A fat rule that comes before `place` and matches, or `place`. */
static uint32_t try_fat(const struct bh_classifier *classifier, const struct bh_key *key, uint32_t place)
{
	for (uint32_t i = 0; i < classifier->fat_count && classifier->fat[i].label < place; i++)
		if (bh_fat_matches(&classifier->fat[i], key))
			return classifier->fat[i].label;
	return place;
}

uint32_t bh_classifier_lookup(const struct bh_classifier *classifier, const struct bh_key *key)
{
	const struct bh_space *space = &classifier->spaces[bh_space_of(key->v6, key->direction)];
	uint32_t place = classifier->variant->label(space, first_word(space, key), second_word(key));

	return classifier->fat_count ? try_fat(classifier, key, place) : place;
}

void bh_classifier_lookup_batch(const struct bh_classifier *classifier, const struct bh_key *keys,
                                uint32_t count, uint32_t *places)
{
	while (count) {
		uint32_t which = bh_space_of(keys->v6, keys->direction), n = 0;
		const struct bh_space *space = &classifier->spaces[which];
		uint64_t words[BH_CHUNK][2];

		/* A run of packets of one space. */
		while (n < BH_CHUNK && n < count && bh_space_of(keys[n].v6, keys[n].direction) == which) {
			words[n][0] = first_word(space, &keys[n]);
			words[n][1] = second_word(&keys[n]);
			n++;
		}
		classifier->variant->labels(space, (const uint64_t (*)[2])words, n, places);
		for (uint32_t i = 0; classifier->fat_count && i < n; i++)
			places[i] = try_fat(classifier, &keys[i], places[i]);
		keys += n;
		places += n;
		count -= n;
	}
}

const struct bh_entry *bh_classifier_at(const struct bh_classifier *classifier, uint32_t place)
{
	return place < classifier->entries_count ? &classifier->entries[place] : NULL;
}

size_t bh_classifier_bytes(const struct bh_classifier *classifier)
{
	return classifier->bytes;
}

struct bh_classifier *bh_classifier_ref(struct bh_classifier *classifier)
{
	atomic_fetch_add_explicit(&classifier->references, 1, memory_order_relaxed);
	return classifier;
}

void bh_classifier_free(struct bh_classifier **classifier)
{
	struct bh_classifier *gone = *classifier;

	*classifier = NULL;
	if (!gone || atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) != 1)
		return;
	free(gone->memory);
	free(gone);
}
