/*
 * builder_part.h - a builder, for the files that it is written in. Inside filter/ only.
 */
#ifndef BH_FILTER_BUILDER_PART_H
#define BH_FILTER_BUILDER_PART_H

#include "bounds.h"
#include "space.h"

struct record {
	struct bh_entry entry;
	uint32_t label;
	uint32_t number;         /* among the records there is memory for, from 1; stays */
	struct bh_pieces *lists; /* owned; of a rule that is not plain, else NULL */
	uint64_t reserved;
	struct bh_plain plain;   /* its `spaces` are there of any rule */
};

_Static_assert(sizeof(struct record) == 128 && offsetof(struct record, plain.ranges) == 64,
               "a rule of IPv4 is one line of a cache");

#define BH_SLAB 256 /* records */

/* Rules by id: builder_records.c. */
struct records {
	struct slot *slots;
	uint32_t slots_bits, slabs_count, count;
	uint32_t *unused; /* numbers of those before `unused_count`, the next one last */
	uint32_t unused_count;
	struct record **slabs;
	struct bh_shelf *shelf; /* of all of these */
};

#define BH_STRIDE 8 /* entries, which are one line of a cache */
#define BH_LATE_MOST 32
#define BH_ROOMY 4
#define BH_LABEL_TAKEN 0x80u /* beside the bits of spaces */

struct bh_builder {
	struct bh_shelf shelf; /* of what has an element a rule */
	struct records records;
	uint32_t *order;   /* numbers of records by label, 0 = a gap; before the first publication: as inserted */
	struct bh_entry *entries; /* by label; a gap has the rank of one that precedes or follows it, and rule 0 */
	uint32_t *stride; /* of entries[BH_STRIDE * i]: its rank */
	uint8_t *spaces; /* by label: BH_LABEL_TAKEN and the record's spaces; 0 = a gap */
	uint32_t labels, taken, room;
	struct roomy {
		uint32_t from, to; /* labels */
	} roomy[BH_ROOMY]; /* where room was made lately: a circle */
	uint32_t roomy_count;
	uint64_t moves; /* of rules to other labels; tests count */
	/* What came lately and has not been done yet, in the order in which it came. */
	struct late {
		uint32_t number; /* of the record */
		bool remove;
	} late[BH_LATE_MOST];
	uint32_t late_count;
	uint32_t fat_count;
	bool fixed, loaded, has_words;
	uint32_t boxes[BH_SPACES];
	bool changed[BH_SPACES]; /* since what is looked up in was made */
	uint32_t refused[BH_SPACES]; /* so many boxes, or somewhat fewer, were too many for rows; 0 = none were */
	uint32_t planted_boxes[BH_SPACES]; /* when it was made */
	uint32_t stripped[BH_SPACES]; /* so many boxes, or about so many, are better in strips than in a forest; 0 = none are */
	uint32_t stripped_left[BH_SPACES]; /* changes after which that is asked again */
	bool planted[BH_SPACES]; /* the forest takes changes in place; whether it is looked up in or not */
	struct bh_planting plantings[BH_SPACES];
	uint32_t made[BH_SPACES]; /* how often a forest was made from nothing; tests count */
	struct pending {
		uint32_t count;
		struct bh_change changes[BH_CHANGES_MOST];
	} pending[BH_SPACES]; /* not yet made in the forest that is planted */
	struct bh_bounds bounds[BH_SPACES][2]; /* local, remote, of a planted forest of IPv6 */
	bool on_bounds[BH_SPACES]; /* the scales are those of the bounds as they are */
	/* Of IPv6, not yet pending: bounds that come get their labels together. */
	struct waiting {
		/* Whose bounds are to be looked for. */
		struct fresh_change {
			struct bh_address bounds[2][2]; /* where the box begins, and the first address behind it */
			uint32_t at;                    /* in the list */
		} fresh[BH_CHANGES_MOST];
		uint32_t fresh_count, count, room;
		struct late_change {
			uint32_t numbers[2][2]; /* of bounds */
			bool ends[2];           /* whether there is one behind the box */
			uint16_t port_first[3], port_last[3];
			uint32_t label, to;
			int what;
		} *list;
	} waiting[BH_SPACES];
	struct bh_few *few[BH_SPACES];      /* where they are faster than the forest */
	struct bh_rows rows[BH_SPACES];     /* likewise */
	struct bh_strips strips[BH_SPACES]; /* likewise */
	struct bh_scale scales[BH_SPACES][2]; /* IPv6 only */
	struct bh_words words;
	struct bh_spare *spare;
};

static inline bool bh_is_v6(uint32_t space)
{
	return space & 2;
}

static inline struct record *bh_record_at(const struct records *records, uint32_t number)
{
	return &records->slabs[(number - 1) / BH_SLAB][(number - 1) % BH_SLAB];
}

uint32_t bh_records_find(const struct records *records, uint32_t id); /* its number; 0 = there is none */
/* Room for one more, not yet among them; NULL. */
struct record *bh_records_take(struct records *records);
int bh_records_put(struct records *records, const struct record *record); /* by its entry's id; -ENOMEM */
void bh_records_remove(struct records *records, uint32_t id);
void bh_records_give(struct records *records, struct record *record); /* clears one that is not among them */
void bh_records_clear(struct records *records);

/* Gives every collected rule its label; -ENOMEM. */
int bh_labels_load(struct bh_builder *builder);
/* Room for as many rules more as may be late; -ENOMEM. */
int bh_labels_reserve(struct bh_builder *builder);
/* Asks for what bh_labels_take() looks at. */
void bh_labels_approach(const struct bh_builder *builder, const struct bh_entry *entry);
/* A free label for the record, after all that do not come after it. There is room. */
void bh_labels_take(struct bh_builder *builder, struct record *record);
void bh_labels_give(struct bh_builder *builder, const struct record *record);

/* A change of a record's boxes, whose label it is (or was): in the forest in place, if there is one that takes it. */
void bh_builder_change(struct bh_builder *builder, const struct record *record, int what, uint32_t to);
/* Makes what a space is looked up in what it has to be; -ENOMEM. */
int bh_builder_settle(struct bh_builder *builder, uint32_t space);

/* The forms that there are, bound to nothing yet, with room for a few; NULL. */
struct bh_classifier *bh_builder_copy(const struct bh_builder *builder);

#endif
