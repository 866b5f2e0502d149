/*
 * lookup_avx2.c - the lookup with AVX2 and BMI2: see lookup.h. Four boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx2,bmi,bmi2")

#define BH_NAME(name) bh_avx2_##name

#include <immintrin.h>

#include "strip.h"

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

static inline uint32_t avx2_compare4(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	return avx2_half(leaf, 0, _mm256_set1_epi64x((long long)w0), _mm256_set1_epi64x((long long)w1));
}

/* Addresses by two registers, whose results are packed to the sixteen of the ports. */
static inline uint32_t avx2_compare16(const struct bh_strip *strip, uint64_t w0, uint64_t w1)
{
	__m256i address[2] = {_mm256_set1_epi32((int)w0), _mm256_set1_epi32((int)(w0 >> 32))}, half[2];
	__m256i over = _mm256_setzero_si256();

	for (int h = 0; h < 2; h++) {
		__m256i fit[2];

		for (int a = 0; a < 2; a++) {
			__m256i at = _mm256_sub_epi32(address[a], ((const __m256i *)strip->first[a])[h]);

			fit[a] = _mm256_cmpeq_epi32(_mm256_min_epu32(at, ((const __m256i *)strip->span[a])[h]), at);
		}
		half[h] = _mm256_and_si256(fit[0], fit[1]);
	}
	for (int p = 0; p < 3; p++) {
		__m256i at = _mm256_sub_epi16(_mm256_set1_epi16((short)(w1 >> 16 * p)),
		                              *(const __m256i *)strip->port_first[p]);

		over = _mm256_or_si256(over, _mm256_subs_epu16(at, *(const __m256i *)strip->port_span[p]));
	}
	over = _mm256_cmpeq_epi16(over, _mm256_setzero_si256());
	half[0] = _mm256_permute4x64_epi64(_mm256_packs_epi32(half[0], half[1]), 0xd8);
	return _pext_u32((uint32_t)_mm256_movemask_epi8(_mm256_and_si256(over, half[0])), 0x55555555);
}

#define BH_SELECT _pext_u64
#define BH_COMPARE avx2_compare
#define BH_COMPARE4 avx2_compare4
#define BH_COMPARE16 avx2_compare16

#include "lookup.h"
#endif
