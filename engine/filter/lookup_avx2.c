/*
 * lookup_avx2.c - the lookup with AVX2 and BMI2: see lookup.h. Four boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx2,bmi,bmi2")

#define BH_NAME(name) bh_avx2_##name

#include <immintrin.h>

#include "forest.h"

/* A lane of 64 bits is one box: 0 where every field's key - first <= span. */
static inline uint32_t avx2_half(const struct bh_leaf *leaf, int from, __m256i addresses,
                                 __m256i ports)
{
	const __m256i fields = _mm256_set1_epi64x(0xffffffffffff);
	__m256i at = _mm256_sub_epi32(addresses, *(const __m256i *)leaf->first[from]);
	__m256i low = _mm256_min_epu32(at, *(const __m256i *)leaf->span[from]);
	__m256i port = _mm256_sub_epi16(ports, *(const __m256i *)leaf->port_first[from]);
	__m256i over = _mm256_subs_epu16(port, *(const __m256i *)leaf->port_span[from]);
	__m256i fail = _mm256_or_si256(_mm256_xor_si256(at, low), _mm256_and_si256(over, fields));
	__m256i hit = _mm256_cmpeq_epi64(fail, _mm256_setzero_si256());

	return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(hit));
}

static inline uint32_t avx2_compare(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	__m256i addresses = _mm256_set1_epi64x((long long)w0), ports = _mm256_set1_epi64x((long long)w1);

	return avx2_half(leaf, 0, addresses, ports) | avx2_half(leaf, 4, addresses, ports) << 4;
}

#define BH_SELECT _pext_u64
#define BH_COMPARE avx2_compare

#include "lookup.h"
#endif
