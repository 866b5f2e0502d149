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

static inline __attribute__((always_inline)) uint32_t
BH_NAME(rows256)(const struct bh_rows *rows, const struct bh_key *key)
{
#ifdef __AVX2__
	__m256i all = _mm256_set1_epi32(-1);
	uint32_t common[8] __attribute__((aligned(32))), some, word;

#define BH_EACH(table, byte) \
	all = _mm256_and_si256(all, *(const __m256i *)&rows->rows[4 * rows->far[table][byte]])
	BH_EACH_BYTE(rows, key, BH_EACH);
#undef BH_EACH
	*(__m256i *)common = all;
	all = _mm256_cmpeq_epi32(all, _mm256_setzero_si256());
	some = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(all)) ^ 0xff;
	word = (uint32_t)__builtin_ctz(some);
	return rows->labels[32 * word + (uint32_t)__builtin_ctz(common[word])];
#else
	uint64_t common[4] = {~0ULL, ~0ULL, ~0ULL, ~0ULL};
	uint32_t word = 0;

#define BH_EACH(table, byte)                                                                         \
	for (uint32_t w = 0; w < 4; w++)                                                                 \
		common[w] &= rows->rows[4 * rows->far[table][byte] + w]
	BH_EACH_BYTE(rows, key, BH_EACH);
#undef BH_EACH
	while (!common[word])
		word++; /* there is a first bit */
	return rows->labels[64 * word + (uint32_t)__builtin_ctzll(common[word])];
#endif
}

#undef BH_EACH_BYTE

#define BH_ROWS_FORM(name)                                                                           \
	static inline __attribute__((always_inline)) uint32_t                                            \
	BH_NAME(name##_one)(const struct bh_space *space, const struct bh_key *key)                      \
	{                                                                                                \
		return BH_NAME(name)(&space->rows, key);                                                     \
	}                                                                                                \
	BH_USUAL(name)                                                                                   \
	static void BH_NAME(name##_all)(const struct bh_space *space, const struct bh_key *keys,         \
	                                uint32_t count, uint32_t *labels)                                \
	{                                                                                                \
		const struct bh_rows rows = space->rows; /* in registers */                                  \
                                                                                                     \
		for (uint32_t i = 0; i < count; i++)                                                         \
			labels[i] = BH_NAME(name)(&rows, &keys[i]);                                              \
	}

BH_ROWS_FORM(rows64)
BH_ROWS_FORM(rows256)

#undef BH_ROWS_FORM
