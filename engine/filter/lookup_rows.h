/*
 * lookup_rows.h - the way of a packet through the rows of rows.h: part of lookup.h. No step depends on a
 * guess but on which fields boxes name, which is always the same.
 */

/* Calls EACH(table, byte) for every byte that has a table. */
#define BH_EACH_BYTE(rows, key, EACH)                                                                \
	do {                                                                                             \
		uint32_t remote = (uint32_t)(key)->remote.lo, local = (uint32_t)(key)->local.lo;             \
                                                                                                     \
		EACH(BH_BYTE_LOCAL_PORT, (uint8_t)(key)->local_port);                                        \
		EACH(BH_BYTE_LOCAL_PORT + 1, (key)->local_port >> 8);                                        \
		EACH(BH_BYTE_PROTOCOL, (key)->protocol);                                                     \
		if ((rows)->remote) {                                                                        \
			EACH(BH_BYTE_REMOTE, (uint8_t)remote);                                                   \
			EACH(BH_BYTE_REMOTE + 1, (uint8_t)(remote >> 8));                                        \
			EACH(BH_BYTE_REMOTE + 2, (uint8_t)(remote >> 16));                                       \
			EACH(BH_BYTE_REMOTE + 3, remote >> 24);                                                  \
		}                                                                                            \
		if ((rows)->local) {                                                                         \
			EACH(BH_BYTE_LOCAL, (uint8_t)local);                                                     \
			EACH(BH_BYTE_LOCAL + 1, (uint8_t)(local >> 8));                                          \
			EACH(BH_BYTE_LOCAL + 2, (uint8_t)(local >> 16));                                         \
			EACH(BH_BYTE_LOCAL + 3, local >> 24);                                                    \
		}                                                                                            \
		if ((rows)->remote_ports) {                                                                  \
			EACH(BH_BYTE_REMOTE_PORT, (uint8_t)(key)->remote_port);                                  \
			EACH(BH_BYTE_REMOTE_PORT + 1, (key)->remote_port >> 8);                                  \
		}                                                                                            \
	} while (0)

static inline __attribute__((always_inline)) uint32_t
BH_NAME(rows64)(const struct bh_rows *rows, const struct bh_key *key)
{
	uint64_t common = ~0ULL;

#define BH_EACH(table, byte) common &= rows->rows[rows->near[table][byte]]
	BH_EACH_BYTE(rows, key, BH_EACH);
#undef BH_EACH
	return rows->labels[__builtin_ctzll(common)];
}

/* `words` is that of the rows, but a constant. */
static inline __attribute__((always_inline)) uint32_t
BH_NAME(wide)(const struct bh_rows *rows, const struct bh_key *key, uint32_t words)
{
#ifdef __AVX2__
	__m256i all[BH_ROWS_PARTS / 256];
	uint32_t common[BH_ROWS_PARTS / 32] __attribute__((aligned(32))), some = 0, word;

	_Pragma("GCC unroll 4")
	for (uint32_t v = 0; v < words / 4; v++)
		all[v] = _mm256_set1_epi32(-1);
#define BH_EACH(table, byte)                                                                         \
	do {                                                                                             \
		const __m256i *row = (const __m256i *)&rows->rows[rows->far[table][byte]];                   \
                                                                                                     \
		_Pragma("GCC unroll 4")                                                                      \
		for (uint32_t v = 0; v < words / 4; v++)                                                     \
			all[v] = _mm256_and_si256(all[v], row[v]);                                               \
	} while (0)
	BH_EACH_BYTE(rows, key, BH_EACH);
#undef BH_EACH
	_Pragma("GCC unroll 4")
	for (uint32_t v = 0; v < words / 4; v++) {
		__m256i none = _mm256_cmpeq_epi32(all[v], _mm256_setzero_si256());

		((__m256i *)common)[v] = all[v];
		some |= ((uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(none)) ^ 0xff) << 8 * v;
	}
	word = (uint32_t)__builtin_ctz(some); /* there is a first bit */
	return rows->labels[32 * word + (uint32_t)__builtin_ctz(common[word])];
#else
	uint64_t common[BH_ROWS_PARTS / 64];
	uint32_t word = 0;

	for (uint32_t w = 0; w < words; w++)
		common[w] = ~0ULL;
#define BH_EACH(table, byte)                                                                         \
	for (uint32_t w = 0; w < words; w++)                                                             \
		common[w] &= rows->rows[rows->far[table][byte] + w]
	BH_EACH_BYTE(rows, key, BH_EACH);
#undef BH_EACH
	while (!common[word])
		word++;
	return rows->labels[64 * word + (uint32_t)__builtin_ctzll(common[word])];
#endif
}

#undef BH_EACH_BYTE

#define BH_ROWS_FORM(name, lookup)                                                                   \
	static inline __attribute__((always_inline)) uint32_t                                            \
	BH_NAME(name##_one)(const struct bh_space *space, const struct bh_key *key)                      \
	{                                                                                                \
		const struct bh_rows *rows = &space->rows;                                                   \
                                                                                                     \
		return lookup;                                                                               \
	}                                                                                                \
	BH_USUAL(name)                                                                                   \
	static void BH_NAME(name##_all)(const struct bh_space *space, const struct bh_key *keys,         \
	                                uint32_t count, uint32_t *labels)                                \
	{                                                                                                \
		const struct bh_rows copy = space->rows, *rows = &copy; /* in registers */                   \
                                                                                                     \
		for (uint32_t i = 0; i < count; i++) {                                                       \
			const struct bh_key *key = &keys[i];                                                     \
                                                                                                     \
			labels[i] = lookup;                                                                      \
		}                                                                                            \
	}

BH_ROWS_FORM(rows64, BH_NAME(rows64)(rows, key))
BH_ROWS_FORM(rows256, BH_NAME(wide)(rows, key, 4))
BH_ROWS_FORM(rows512, BH_NAME(wide)(rows, key, 8))
BH_ROWS_FORM(rows768, BH_NAME(wide)(rows, key, 12))
BH_ROWS_FORM(rows1024, BH_NAME(wide)(rows, key, 16))

#undef BH_ROWS_FORM
