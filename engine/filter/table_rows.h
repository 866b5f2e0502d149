/*
 * table_rows.h - up to 255 parts of boxes as rows of bits (rows.h), as a compiled table has them: part of
 * table.h. For IPv4.
 *
 * Each byte of a packet chooses a row by itself, so nothing waits for anything before it and no step is a
 * guess: in the kernel this is faster than trees, which have few rules in each of their nodes but cannot
 * have a packet in fewer than three or four of them.
 *
 * The entries of the parts come first; then, for each byte, where its row is for each of its values, in
 * bytes from the first of these places on; then the rows.
 */
#ifndef BH_FILTER_TABLE_ROWS_H
#define BH_FILTER_TABLE_ROWS_H

/* Bytes of a packet, low ones first, in the order of their places; what no box names has none, at the end. */
enum { BH_BYTE_LOCAL_PORT = 0, BH_BYTE_PROTOCOL = 2, BH_BYTE_REMOTE = 3, BH_BYTE_LOCAL = 7, BH_BYTE_REMOTE_PORT = 11,
       BH_BYTES = 13 };

/* A domain's word of rows: their offset, a multiple of 64, and what they are. */
#define BH_ROWS_WORDS 7u   /* of 64 bits in a row: 1, 2 or 4 */
#define BH_ROWS_REMOTE 8u  /* boxes name remote addresses */
#define BH_ROWS_LOCAL 16u
#define BH_ROWS_REMOTE_PORTS 32u

#define BH_ROWS_PLACES 65536 /* bytes of places and rows, at most */
/* Bytes that may be read from the entries on, whatever they are. */
#define BH_ROWS_ROOM (BH_ROWS_WORDS * 64 * 8 + BH_ROWS_PLACES + 64)
_Static_assert(BH_ROWS_ROOM <= BH_TABLE_TAIL, "rows of the last table in a chunk are read whole");

/* The lowest bit of a word as a number of six bits: not its index, but another for each. */
BH_INLINE uint32_t bh_bit_place(uint64_t word)
{
	return (uint32_t)((word & (0 - word)) * 0x022fdd63cc95386dULL >> 58);
}

/* A byte of a number, low ones first, loaded by itself: numbers that are shifted have to be kept somewhere. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BH_BYTE_OF(number, byte) (((const volatile uint8_t *)(number))[byte])
#else
#define BH_BYTE_OF(number, byte) (((const volatile uint8_t *)(number))[sizeof(*(number)) - 1 - (byte)])
#endif

/* What a byte's value leaves of the parts of `words` words, of which the first is so many bytes into a row. */
BH_INLINE void bh_rows_and(uint64_t common[2], const uint8_t *places, int byte, uint32_t value, uint32_t from,
                           uint32_t words)
{
	const uint8_t *row = places + *(const uint16_t *)(places + value * 2 + byte * 512);

	common[0] &= *(const uint64_t *)(row + from);
	if (words == 2)
		common[1] &= *(const uint64_t *)(row + from + 8);
}

BH_INLINE void bh_rows_address(uint64_t common[2], const uint8_t *places, int byte, const uint64_t *address,
                               uint32_t from, uint32_t words)
{
	BH_UNROLL
	for (int b = 0; b < 4; b++)
		bh_rows_and(common, places, byte + b, BH_BYTE_OF(address, b), from, words);
}

BH_INLINE void bh_rows_port(uint64_t common[2], const uint8_t *places, int byte, const uint16_t *port, uint32_t from,
                            uint32_t words)
{
	bh_rows_and(common, places, byte, BH_BYTE_OF(port, 0), from, words);
	bh_rows_and(common, places, byte + 1, BH_BYTE_OF(port, 1), from, words);
}

/*
 * Whether boxes name something: read anew each time, for the verifier would follow each way through what comes
 * next by itself if it knew that two questions are about one word.
 */
#define BH_ROWS_NAME(rows, what) (*(const volatile uint32_t *)(rows) & (what))

/* The parts that all bytes of the packet leave. */
BH_INLINE void bh_rows_common(uint64_t common[2], const uint8_t *places, const uint32_t *rows,
                              const struct bh_key *key, uint32_t from, uint32_t words)
{
	common[0] = common[1] = ~0ULL;
	bh_rows_port(common, places, BH_BYTE_LOCAL_PORT, &key->local_port, from, words);
	bh_rows_and(common, places, BH_BYTE_PROTOCOL, key->protocol, from, words);
	if (BH_ROWS_NAME(rows, BH_ROWS_REMOTE))
		bh_rows_address(common, places, BH_BYTE_REMOTE, &key->remote.lo, from, words);
	if (BH_ROWS_NAME(rows, BH_ROWS_LOCAL))
		bh_rows_address(common, places, BH_BYTE_LOCAL, &key->local.lo, from, words);
	if (BH_ROWS_NAME(rows, BH_ROWS_REMOTE_PORTS))
		bh_rows_port(common, places, BH_BYTE_REMOTE_PORT, &key->remote_port, from, words);
}

/*
 * As bh_place_lookup() for a domain whose word of rows is at `rows`: the entry of the first part that all bytes
 * leave. The last part is of all packets.
 */
BH_INLINE const struct bh_entry *bh_rows_lookup(const struct bh_place *table, const uint32_t *rows,
                                                const struct bh_key *key, uint32_t mask)
{
	const uint8_t *entries = BH_ROWS_AT(table, *rows, mask);
	uint32_t words = BH_ROWS_NAME(rows, BH_ROWS_WORDS), at = 0;
	const struct bh_entry *entry;
	uint64_t common[2], none;

	BH_STEP(rows);
	if (!entries)
		return 0;
	if (words == 1) {
		bh_rows_common(common, entries + 512, rows, key, 0, 1);
	} else {
		bh_rows_common(common, entries + words * 512, rows, key, 0, 2);
		if (!(common[0] | common[1])) {
			bh_rows_common(common, entries + words * 512, rows, key, 16, 2);
			at = 128;
		}
		none = ((common[0] | (0 - common[0])) >> 63) - 1; /* without a guess */
		common[0] |= common[1] & none;
		at += (uint32_t)none & 64;
	}
	entry = (const struct bh_entry *)entries + at + bh_bit_place(common[0]);
	return entry->flags & BH_ENTRY_NONE ? 0 : entry;
}

#endif
