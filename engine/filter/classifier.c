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
	return 0;
}

void bh_classifier_bind(struct bh_classifier *classifier)
{
	for (int i = 0; bh_classifier_set_variant(classifier, bh_classifier_variants[i]); i++)
		;
}

/* Local and remote port, protocol, direction, family: as they lie in memory on most processors. */
static inline uint64_t last_word(const struct bh_key *key)
{
	uint64_t word;

	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
		memcpy(&word, &key->local_port, sizeof(word));
		return word;
	}
	return (uint64_t)key->local_port | (uint64_t)key->remote_port << 16 | (uint64_t)key->protocol << 32 |
	       (uint64_t)key->direction << 40 | (uint64_t)key->v6 << 48;
}

#define SECOND_WORD (~0ULL >> 24)         /* of them: ports and protocol */
#define SPACE_BITS (1ULL << 40 | 1ULL << 48) /* direction and family */

static inline uint32_t space_of(uint64_t last)
{
	return (uint32_t)(last >> 40 & 1) | (uint32_t)(last >> 47 & 2);
}

static inline uint64_t first_word(const struct bh_key *key)
{
	return (uint32_t)key->local.lo | key->remote.lo << 32;
}

static uint64_t ranks_of(const struct bh_space *space, const struct bh_key *key)
{
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

/* What few lookups need, apart from what all of them need. */
static __attribute__((noinline)) uint32_t lookup_further(const struct bh_classifier *classifier,
                                                         const struct bh_key *key)
{
	uint64_t last = last_word(key);
	const struct bh_space *space = &classifier->spaces[space_of(last)];
	uint64_t first = key->v6 ? ranks_of(space, key) : first_word(key);

	return try_fat(classifier, key, space->one(space, first, last & SECOND_WORD));
}

uint32_t bh_classifier_lookup(const struct bh_classifier *classifier, const struct bh_key *key)
{
	uint64_t last = last_word(key);
	const struct bh_space *space = &classifier->spaces[space_of(last)];

	if (__builtin_expect((last >> 48 & 1) | classifier->fat_count, 0))
		return lookup_further(classifier, key);
	return space->one(space, first_word(key), last & SECOND_WORD);
}

void bh_classifier_lookup_batch(const struct bh_classifier *classifier, const struct bh_key *keys,
                                uint32_t count, uint32_t *places)
{
	while (count) {
		uint64_t which = last_word(keys) & SPACE_BITS, words[BH_CHUNK][2];
		const struct bh_space *space = &classifier->spaces[space_of(which)];
		uint32_t most = count < BH_CHUNK ? count : BH_CHUNK, n = 0;

		/* A run of packets of one space. */
		for (; n < most; n++) {
			uint64_t last = last_word(&keys[n]);

			if ((last & SPACE_BITS) != which)
				break;
			words[n][0] = first_word(&keys[n]);
			words[n][1] = last & SECOND_WORD;
		}
		for (uint32_t i = 0; keys->v6 && i < n; i++)
			words[i][0] = ranks_of(space, &keys[i]);
		space->all(space, (const uint64_t (*)[2])words, n, places);
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
