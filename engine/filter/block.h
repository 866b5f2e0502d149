/*
 * block.h - a block of at most 64 rules as bit vectors: what rules become whose lists are too long to
 * be boxes of a table (table.h). Lists and exclusions cost intervals here, not rules.
 *
 * Each of four fields is cut into elementary intervals; the interval a packet falls in has a row of
 * one bit per rule. The AND of the four rows are the rules that match, the lowest bit is the one that
 * wins. Blocks of a run stand in the order of precedence: the first with a match has the answer.
 */
#ifndef BH_FILTER_BLOCK_H
#define BH_FILTER_BLOCK_H

#include "packet.h"

#define BH_PAGE_SIZE 4000
#define BH_PAGE_ROOM 4032 /* from one page to the next: whole lines */
#define BH_BLOCK_RULES 64

enum bh_field { BH_FIELD_LOCAL, BH_FIELD_REMOTE, BH_FIELD_SERVICE, BH_FIELD_REMOTE_PORT, BH_FIELDS };

enum bh_entry_flag { BH_ENTRY_BLOCK = 1, BH_ENTRY_AUDIT = 2, BH_ENTRY_LOG = 4, BH_ENTRY_NONE = 8 /* of no rule */ };

struct bh_entry {
	uint32_t rule; /* id */
	uint16_t priority;
	uint16_t flags; /* enum bh_entry_flag */
};

struct bh_block {
	uint16_t rules;
	uint16_t entries; /* offset of struct bh_entry[rules] */
	struct {
		uint16_t count;  /* intervals; at least 1 */
		uint16_t starts; /* offset of the first value of each, ascending, the first is 0 */
		uint16_t rows;   /* offset of uint64_t[count] */
		uint16_t reserved;
	} fields[BH_FIELDS];
};

/*
 * Local port and protocol as one number; for ICMP the port is type << 8 | code. ICMP's number in the
 * other family's packets is a protocol that no rule names, only one without a protocol matches.
 */
#define BH_SERVICE_FOREIGN 0x1000000u
#define BH_SERVICE_MAX 0x1ffffffu

static inline uint32_t bh_service(const struct bh_key *key)
{
	uint32_t service = (uint32_t)key->protocol << 16 | key->local_port;

	if (key->protocol == (key->v6 ? BH_PROTO_ICMP : BH_PROTO_ICMP6))
		service |= BH_SERVICE_FOREIGN;
	return service;
}

#define BH_SEARCH_STEPS 8 /* 2^8 > intervals that fit a page */

/* The last index whose start is not above `value`. */
BH_INLINE uint32_t bh_search_number(const uint8_t *page, uint32_t starts, uint32_t count,
                                    uint32_t value)
{
	uint32_t low = 0;

	for (int i = 0; i < BH_SEARCH_STEPS; i++) {
		uint32_t half = count >> 1, at = starts + (low + half) * 4;

		if (at > BH_PAGE_SIZE - 4)
			return 0;
		if (*(const uint32_t *)(page + at) <= value)
			low += half;
		count -= half;
	}
	return low;
}

BH_INLINE uint32_t bh_search_address(const uint8_t *page, uint32_t starts, uint32_t count,
                                     const struct bh_address *value)
{
	uint32_t low = 0;

	for (int i = 0; i < BH_SEARCH_STEPS; i++) {
		uint32_t half = count >> 1, at = starts + (low + half) * 16;
		const struct bh_address *start;

		if (at > BH_PAGE_SIZE - 16)
			return 0;
		start = (const struct bh_address *)(page + at);
		if (!bh_address_below(value, start))
			low += half;
		count -= half;
	}
	return low;
}

static inline uint64_t bh_row(const uint8_t *page, uint32_t rows, uint32_t index)
{
	uint32_t at = rows + index * 8;

	return at > BH_PAGE_SIZE - 8 ? 0 : *(const uint64_t *)(page + at);
}

/* Index of the lowest bit of a non-zero word (a multiply and a table of 64: de Bruijn). */
static inline uint32_t bh_lowest_bit(uint64_t word)
{
#ifdef __bpf__
	uint32_t bit = 0;

	if (!(word & 0xffffffff)) {
		bit += 32;
		word >>= 32;
	}
	if (!(word & 0xffff)) {
		bit += 16;
		word >>= 16;
	}
	if (!(word & 0xff)) {
		bit += 8;
		word >>= 8;
	}
	if (!(word & 0xf)) {
		bit += 4;
		word >>= 4;
	}
	if (!(word & 3)) {
		bit += 2;
		word >>= 2;
	}
	return bit + !(word & 1);
#else
	return (uint32_t)__builtin_ctzll(word);
#endif
}

/* True and the entry, if a rule of this block matches. */
static inline bool bh_block_lookup(const uint8_t *page, const struct bh_key *key,
                                   struct bh_entry *entry)
{
	const struct bh_block *block = (const struct bh_block *)page;
	uint64_t match;
	uint32_t at;

	match = bh_row(page, block->fields[BH_FIELD_SERVICE].rows,
	               bh_search_number(page, block->fields[BH_FIELD_SERVICE].starts,
	                                block->fields[BH_FIELD_SERVICE].count, bh_service(key)));
	if (!match)
		return false;
	match &= bh_row(page, block->fields[BH_FIELD_REMOTE].rows,
	                bh_search_address(page, block->fields[BH_FIELD_REMOTE].starts,
	                                  block->fields[BH_FIELD_REMOTE].count, &key->remote));
	if (!match)
		return false;
	match &= bh_row(page, block->fields[BH_FIELD_LOCAL].rows,
	                bh_search_address(page, block->fields[BH_FIELD_LOCAL].starts,
	                                  block->fields[BH_FIELD_LOCAL].count, &key->local));
	if (!match)
		return false;
	match &= bh_row(page, block->fields[BH_FIELD_REMOTE_PORT].rows,
	                bh_search_number(page, block->fields[BH_FIELD_REMOTE_PORT].starts,
	                                 block->fields[BH_FIELD_REMOTE_PORT].count, key->remote_port));
	if (!match)
		return false;
	at = block->entries + bh_lowest_bit(match) * (uint32_t)sizeof(struct bh_entry);
	if (at > BH_PAGE_SIZE - sizeof(struct bh_entry))
		return false;
	*entry = *(const struct bh_entry *)(page + at);
	return true;
}

#endif
