/*
 * lookup_avx2.c - the lookup with AVX2 and BMI2: see lookup.h. Four boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")

#define BH_NAME(name) bh_avx2_##name

#include <immintrin.h>

#include "classifier.h"
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

/* All bits of lane i: address `a` of box 8 * half + i. */
static inline __m256i avx2_fit(const struct bh_strip *strip, int a, int half, __m256i address)
{
	__m256i at = _mm256_sub_epi32(address, ((const __m256i *)strip->first[a])[half]);

	return _mm256_cmpeq_epi32(_mm256_min_epu32(at, ((const __m256i *)strip->span[a])[half]), at);
}

/* 0 in lane i: port `p` of box i. */
static inline __m256i avx2_over(const struct bh_strip *strip, int p, __m256i port)
{
	__m256i at = _mm256_sub_epi16(port, *(const __m256i *)strip->port_first[p]);

	return _mm256_subs_epu16(at, *(const __m256i *)strip->port_span[p]);
}

/*
 * Addresses take two registers, whose results are packed to the sixteen of the ports. What spreads the
 * packet over a register reads it where it is.
 */
static inline uint32_t avx2_compare16(const struct bh_strips *strips, const struct bh_strip *strip,
                                      const struct bh_key *key)
{
	__m256i low = _mm256_set1_epi32(-1), high = low, over;

	if (strips->names[0]) {
		__m256i local = _mm256_set1_epi32((int)key->local.lo);

		low = avx2_fit(strip, 0, 0, local), high = avx2_fit(strip, 0, 1, local);
	}
	if (strips->names[1]) {
		__m256i remote = _mm256_set1_epi32((int)key->remote.lo);

		low = _mm256_and_si256(low, avx2_fit(strip, 1, 0, remote));
		high = _mm256_and_si256(high, avx2_fit(strip, 1, 1, remote));
	}
	over = _mm256_or_si256(avx2_over(strip, 0, _mm256_set1_epi16((short)key->local_port)),
	                       avx2_over(strip, 2, _mm256_set1_epi16(key->protocol)));
	if (strips->names_remote_port)
		over = _mm256_or_si256(over, avx2_over(strip, 1, _mm256_set1_epi16((short)key->remote_port)));
	over = _mm256_cmpeq_epi16(over, _mm256_setzero_si256());
	if (strips->names[0] | strips->names[1])
		over = _mm256_and_si256(over, _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
	return (uint32_t)_mm256_movemask_epi8(over);
}

#define BH_SELECT _pext_u64
#define BH_PACK(word, mask, moves) _pext_u64(word, mask)
#define BH_COMPARE avx2_compare
#define BH_COMPARE4 avx2_compare4
#define BH_COMPARE16 avx2_compare16
#define BH_COMPARE16_BITS 2

#include "lookup.h"
#endif
