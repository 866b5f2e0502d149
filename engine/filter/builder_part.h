/*
 * builder_part.h - a builder, for the files that it is written in. Inside filter/ only.
 */
#ifndef BH_FILTER_BUILDER_PART_H
#define BH_FILTER_BUILDER_PART_H

#include "../base/hash.h"
#include "space.h"

struct record {
	struct bh_entry entry;
	uint32_t label;
	uint32_t count;
	uint8_t spaces;          /* bit per space that has a piece of it */
	struct bh_piece *pieces; /* owned */
	struct bh_fat *fat;      /* owned, or NULL */
};

struct bh_builder {
	struct bh_hash *records; /* id → struct record *, owned */
	struct record **order;   /* by label, NULL = a gap; before the first publication: as inserted */
	struct bh_entry *entries; /* by label; a gap repeats what precedes it, with rule 0 */
	uint8_t *spaces; /* by label: of the record; anything for a gap */
	uint32_t labels, room;
	uint32_t fat_count;
	bool fixed, loaded, has_words;
	uint32_t boxes[BH_SPACES];
	bool stale[BH_SPACES]; /* the forest is to be made anew */
	struct bh_planting plantings[BH_SPACES];
	struct bh_few *few[BH_SPACES];      /* where they are faster than the forest, which then is empty */
	struct bh_rows rows[BH_SPACES];     /* likewise */
	struct bh_strips strips[BH_SPACES]; /* likewise */
	struct bh_ranks ranks[BH_SPACES][2];
	struct bh_words words;
	struct bh_spare *spare;
};

/* The forms that there are, bound to nothing yet, with room for a few; NULL. */
struct bh_classifier *bh_builder_copy(const struct bh_builder *builder);

#endif
