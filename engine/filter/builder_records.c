/*
 * builder_records.c - the rules of a builder by id. Records lie in slabs that are freed with the builder,
 * so a rule that comes and goes costs no heap; ids lie side by side in a table that is at most half
 * full, so to look for one is to touch one place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

#define AHEAD 8 /* records that are asked for before they are taken */

/* Of a record: which slab, and which of it, counted from 1. */
struct slot {
	uint32_t id, number;
};

static uint32_t slot_of(const struct records *records, uint32_t id)
{
	return id * 2654435769u >> (32 - records->slots_bits);
}

static uint32_t next_slot(const struct records *records, uint32_t at)
{
	return (at + 1) & ((1u << records->slots_bits) - 1);
}

/* Where an id is, or would be. */
static struct slot *find(const struct records *records, uint32_t id)
{
	uint32_t at = slot_of(records, id);

	while (records->slots[at].number && records->slots[at].id != id)
		at = next_slot(records, at);
	return &records->slots[at];
}

uint32_t bh_records_find(const struct records *records, uint32_t id)
{
	return records->slots_bits ? find(records, id)->number : 0;
}

static int grow_slabs(struct records *records)
{
	struct record **slabs = realloc(records->slabs, (records->slabs_count + 1) * sizeof(*slabs)), *slab;
	uint32_t *unused;

	if (!slabs)
		return -ENOMEM;
	records->slabs = slabs;
	unused = realloc(records->unused, (records->slabs_count + 1) * BH_SLAB * sizeof(*unused));
	if (!unused)
		return -ENOMEM;
	records->unused = unused;
	slab = bh_shelf_resize(records->shelf, NULL, BH_SLAB * sizeof(*slab));
	if (!slab)
		return -ENOMEM;
	for (uint32_t i = BH_SLAB; i-- > 0;) {
		slab[i].number = records->slabs_count * BH_SLAB + i + 1;
		records->unused[records->unused_count++] = slab[i].number;
	}
	slabs[records->slabs_count++] = slab;
	return 0;
}

struct record *bh_records_take(struct records *records)
{
	if (!records->unused_count && grow_slabs(records))
		return NULL;
	if (records->unused_count > AHEAD)
		__builtin_prefetch(bh_record_at(records, records->unused[records->unused_count - AHEAD]), 1);
	return bh_record_at(records, records->unused[--records->unused_count]);
}

static int grow_slots(struct records *records)
{
	struct records grown = *records;

	grown.slots_bits = records->slots_bits ? records->slots_bits + 1 : 8;
	grown.slots = bh_shelf_resize(records->shelf, NULL, sizeof(*grown.slots) << grown.slots_bits);
	if (!grown.slots)
		return -ENOMEM;
	memset(grown.slots, 0, sizeof(*grown.slots) << grown.slots_bits);
	for (uint32_t i = 0; records->slots_bits && i < 1u << records->slots_bits; i++)
		if (records->slots[i].number)
			*find(&grown, records->slots[i].id) = records->slots[i];
	bh_shelf_free(records->shelf, records->slots);
	*records = grown;
	return 0;
}

int bh_records_put(struct records *records, const struct record *record)
{
	if ((!records->slots_bits || records->count >= 1u << (records->slots_bits - 1)) && grow_slots(records))
		return -ENOMEM;
	*find(records, record->entry.rule) = (struct slot){record->entry.rule, record->number};
	records->count++;
	return 0;
}

/* Those after it that are not where they would be best come nearer. */
void bh_records_remove(struct records *records, uint32_t id)
{
	struct slot *slots = records->slots;
	uint32_t hole = (uint32_t)(find(records, id) - slots), at = hole;
	uint32_t mask = (1u << records->slots_bits) - 1;

	for (at = next_slot(records, at); slots[at].number; at = next_slot(records, at))
		if (((at - slot_of(records, slots[at].id)) & mask) >= ((at - hole) & mask)) {
			slots[hole] = slots[at];
			hole = at;
		}
	slots[hole].number = 0;
	records->count--;
}

static void clear(struct record *record)
{
	if (record->lists)
		bh_pieces_clear(record->lists);
	free(record->lists);
	record->lists = NULL;
}

void bh_records_give(struct records *records, struct record *record)
{
	clear(record);
	records->unused[records->unused_count++] = record->number;
}

void bh_records_clear(struct records *records)
{
	for (uint32_t i = 0; records->slots_bits && i < 1u << records->slots_bits; i++)
		if (records->slots[i].number)
			clear(bh_record_at(records, records->slots[i].number));
	for (uint32_t i = 0; i < records->slabs_count; i++)
		bh_shelf_free(records->shelf, records->slabs[i]);
	free(records->slabs);
	free(records->unused);
	bh_shelf_free(records->shelf, records->slots);
	*records = (struct records){0};
}
