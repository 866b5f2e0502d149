/*
 * space.h - what a classifier is made of. Inside filter/ only.
 *
 * A packet's direction and family choose one of four spaces. In an IPv4 space addresses are what
 * they are; in an IPv6 space an address is a label on a scale of the rules' bounds (scale.h), so that
 * the boxes of both have addresses of 32 bits.
 */
#ifndef BH_FILTER_SPACE_H
#define BH_FILTER_SPACE_H

#include <stdatomic.h>
#include <string.h>

#include "classifier.h"
#include "few.h"
#include "forest.h"
#include "pieces.h"
#include "rows.h"
#include "scale.h"
#include "strip.h"
#include "variant.h"

/* Packets are looked up in the first form that there is; in IPv6, with labels for their addresses. */
struct bh_space {
	uint32_t (*one)(const struct bh_space *space, const struct bh_key *key);
	/* At most BH_CHUNK packets. */
	void (*all)(const struct bh_space *space, const struct bh_key *keys, uint32_t count, uint32_t *labels);
	uint32_t (*usual)(const struct bh_classifier *classifier, const struct bh_key *key); /* bh_lookup.one */
	/* Of IPv6: what the former two call, with labels. */
	uint32_t (*scaled_one)(const struct bh_space *space, const struct bh_key *key);
	void (*scaled_all)(const struct bh_space *space, const struct bh_key *keys, uint32_t count, uint32_t *labels);
	uint32_t direction;
	struct bh_few *few;
	struct bh_rows rows;
	struct bh_strips strips;
	struct bh_forest forest;
	struct bh_scale *scales; /* of local and of remote addresses; IPv6 only */
};

/*
 * Memory of a classifier that nobody reads any more, for the builder's next: touching fresh pages costs
 * more than copying to them. Shared by a builder and all it published.
 */
struct bh_spare {
	_Atomic(void *) memory; /* starts with its size */
	atomic_uint references;
};

void *bh_spare_take(struct bh_spare *spare, size_t size); /* 64-byte aligned; NULL if there is none */
void bh_spare_give(struct bh_spare *spare, void *memory);
void bh_spare_drop(struct bh_spare *spare); /* a reference */

struct bh_classifier {
	struct bh_lookup start;
	uint32_t usual_kind;   /* of the packets that `start` is made for; any others it may be given */
	struct bh_space usual; /* theirs, once more: where it is looked for first */
	struct bh_space spaces[BH_SPACES];
	struct bh_entry *entries; /* by label; rule 0 = a gap */
	uint32_t entries_count;
	uint32_t fat_count;
	const struct bh_fat *fat; /* by label; their lists belong to `fat_owner` */
	size_t bytes;
	atomic_uint references;
	void *memory;           /* of bh_spare_take() */
	struct bh_spare *spare; /* a reference */
	struct bh_few few[];    /* usual.few, if there is one: where it is found without a look */
};

#define BH_KIND(v6, direction) \
	((uint32_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? (direction) | (v6) << 8 : (direction) << 8 | (v6)))

/* What of a packet says which space it is of, as it lies in memory. */
static inline uint32_t bh_kind_of(const struct bh_key *key)
{
	uint16_t kind;

	memcpy(&kind, &key->direction, sizeof(kind));
	return kind;
}

/* Any packet, in any classifier. */
uint32_t bh_lookup_further(const struct bh_classifier *classifier, const struct bh_key *key);

/* Looks up with the best instruction set of this processor. */
void bh_classifier_bind(struct bh_classifier *classifier);

#endif
