/*
 * lookup_avx2.c - the lookup with AVX2 and BMI2: see lookup.h. Four boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx2,bmi,bmi2")

#define BH_NAME(name) bh_avx2_##name

#include <immintrin.h>

#include "space.h"

/* A lane of 64 bits is one box: 0 where every field's key - first <= span. */
static inline uint32_t avx2_half(const struct bh_leaf *leaf, int from, __m256i addresses,
                                 __m256i ports)
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i at = _mm256_sub_epi32(addresses, *(const __m256i *)leaf->first[from]);
	__m256i low = _mm256_min_epu32(at, *(const __m256i *)leaf->span[from]);
	__m256i port = _mm256_sub_epi16(ports, *(const __m256i *)leaf->port_first[from]);
	__m256i over = _mm256_subs_epu16(port, *(const __m256i *)leaf->port_span[from]);
	__m256i fail = _mm256_or_si256(_mm256_xor_si256(at, low), _mm256_blend_epi16(over, zero, 0x88));
	__m256i hit = _mm256_cmpeq_epi64(fail, zero);

	return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(hit));
}

static inline uint32_t avx2_compare(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	__m256i addresses = _mm256_set1_epi64x((long long)w0), ports = _mm256_set1_epi64x((long long)w1);

	return avx2_half(leaf, 0, addresses, ports) | avx2_half(leaf, 4, addresses, ports) << 4;
}

static inline uint32_t avx2_below(const int32_t *keys, uint32_t value)
{
	__m256i all = _mm256_set1_epi32((int)(value ^ BH_AXIS_BIAS));
	__m256i low = _mm256_cmpgt_epi32(all, _mm256_load_si256((const __m256i *)keys));
	__m256i high = _mm256_cmpgt_epi32(all, _mm256_load_si256((const __m256i *)keys + 1));

	return (uint32_t)__builtin_popcount((uint32_t)_mm256_movemask_epi8(_mm256_packs_epi32(low, high))) / 2;
}

/* Bit i: part i of 32 bits of the registers is not 0. */
static inline uint32_t avx2_parts(const __m256i *all, uint32_t count)
{
	const __m256i zero = _mm256_setzero_si256(), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i empty[4];

	for (uint32_t k = 0; k < count; k++)
		empty[k] = _mm256_cmpeq_epi32(all[k], zero);
	if (count == 1)
		return 0xff & ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(empty[0]));
	if (count == 2)
		return 0xffff & ~((uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(empty[0])) |
		                  (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(empty[1])) << 8);
	/* Packing goes by halves of registers. */
	empty[0] = _mm256_packs_epi16(_mm256_packs_epi32(empty[0], empty[1]),
	                              _mm256_packs_epi32(empty[2], empty[3]));
	return ~(uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(empty[0], order));
}

static inline __attribute__((always_inline)) uint32_t avx2_meet(const uint64_t *const *rows, uint32_t n,
                                                                uint32_t words)
{
	__m256i all[4];
	uint32_t parts[33] __attribute__((aligned(32))), i;

#pragma GCC unroll 4
	for (uint32_t k = 0; k < words / 4; k++)
		all[k] = _mm256_load_si256((const __m256i *)rows[0] + k);
	for (uint32_t r = 1; r < n; r++)
#pragma GCC unroll 4
		for (uint32_t k = 0; k < words / 4; k++)
			all[k] = _mm256_and_si256(all[k], _mm256_load_si256((const __m256i *)rows[r] + k));
#pragma GCC unroll 4
	for (uint32_t k = 0; k < words / 4; k++)
		_mm256_store_si256((__m256i *)parts + k, all[k]);
	parts[2 * words] = 1;
	i = (uint32_t)__builtin_ctzll(avx2_parts(all, words / 4) | 1ULL << 2 * words);
	return 32 * i + (uint32_t)__builtin_ctz(parts[i]);
}

#define BH_BELOW avx2_below
#define BH_MEET avx2_meet
#define BH_SELECT _pext_u64
#define BH_COMPARE avx2_compare

#include "lookup.h"
#endif
