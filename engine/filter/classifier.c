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
               "the last eight bytes of a key are ports, protocol, direction and family");
_Static_assert(offsetof(struct bh_key, v6) == offsetof(struct bh_key, direction) + 1, "see bh_kind_of()");

const char *const bh_classifier_variants[] = {
#ifdef __x86_64__
	"avx512", "avx2",
#endif
	"plain", NULL,
};

typedef void bind_function(struct bh_space *space);

static bind_function *bind_of(const char *name)
{
#ifdef __x86_64__
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");

	if (!strcmp(name, "avx512") && avx2 && __builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
		return bh_avx512_bind;
	if (!strcmp(name, "avx2") && avx2)
		return bh_avx2_bind;
#endif
	return strcmp(name, "plain") ? NULL : bh_plain_bind;
}

int bh_classifier_set_variant(struct bh_classifier *classifier, const char *name)
{
	bind_function *bind = bind_of(name);

	if (!bind)
		return -ENOTSUP;
	for (int s = 0; s < BH_SPACES; s++)
		bind(&classifier->spaces[s]);
	bind(&classifier->usual);
	classifier->start.one = classifier->fat_count ? bh_lookup_further : classifier->usual.usual;
	return 0;
}

void bh_classifier_bind(struct bh_classifier *classifier)
{
	for (int i = 0; bh_classifier_set_variant(classifier, bh_classifier_variants[i]); i++)
		;
}

static inline uint32_t space_of(const struct bh_key *key)
{
	return bh_space_of(key->v6, key->direction);
}

/* A fat rule that comes before `place` and matches, or `place`. */
static uint32_t try_fat(const struct bh_classifier *classifier, const struct bh_key *key, uint32_t place)
{
	for (uint32_t i = 0; i < classifier->fat_count && classifier->fat[i].label < place; i++)
		if (bh_fat_matches(&classifier->fat[i], key))
			return classifier->fat[i].label;
	return place;
}

uint32_t bh_lookup_further(const struct bh_classifier *classifier, const struct bh_key *key)
{
	const struct bh_space *space = &classifier->spaces[space_of(key)];

	return try_fat(classifier, key, space->one(space, key));
}

/* How many of the first packets, at most `most`, are of the first one's space. */
static inline uint32_t run_of(const struct bh_key *keys, uint32_t most)
{
	uint32_t kind = bh_kind_of(keys), n = 1;

	for (; n + 4 <= most; n += 4)
		if (((kind ^ bh_kind_of(&keys[n])) | (kind ^ bh_kind_of(&keys[n + 1])) | (kind ^ bh_kind_of(&keys[n + 2])) |
		     (kind ^ bh_kind_of(&keys[n + 3]))) & 0x101)
			break;
	while (n < most && !((kind ^ bh_kind_of(&keys[n])) & 0x101))
		n++;
	return n;
}

void bh_classifier_lookup_batch(const struct bh_classifier *classifier, const struct bh_key *keys,
                                uint32_t count, uint32_t *places)
{
	while (count) {
		uint32_t n = run_of(keys, count < BH_CHUNK ? count : BH_CHUNK);
		const struct bh_space *space = &classifier->spaces[space_of(keys)];

		space->all(space, keys, n, places);
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
	bh_spare_give(gone->spare, gone->memory);
	bh_spare_drop(gone->spare);
	free(gone);
}
