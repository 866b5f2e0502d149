/*
 * lookup_avx512.c - the lookup with AVX-512 (F, BW, VL) and BMI2: see lookup.h. Eight boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt")

#define BH_NAME(name) bh_avx512_##name

#include <immintrin.h>

#include "classifier.h"
#include "strip.h"

/* A lane of 64 bits is one box: 0 where every field's key - first <= span. */
static inline uint32_t avx512_compare(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	__m512i at = _mm512_sub_epi32(_mm512_set1_epi64((long long)w0), _mm512_load_si512(leaf->first));
	__m512i low = _mm512_min_epu32(at, _mm512_load_si512(leaf->span));
	__m512i port = _mm512_sub_epi16(_mm512_set1_epi64((long long)w1),
	                                _mm512_load_si512(leaf->port_first));
	__m512i over = _mm512_maskz_subs_epu16(0x77777777, port, _mm512_load_si512(leaf->port_span));
	__m512i fail = _mm512_ternarylogic_epi64(at, low, over, 0x3c | 0xaa); /* (at ^ low) | over */

	return (uint32_t)_mm512_testn_epi64_mask(fail, fail);
}

static inline uint32_t avx512_compare16(const struct bh_strips *strips, const struct bh_strip *strip,
                                        const struct bh_key *key)
{
	const uint32_t addresses[2] = {(uint32_t)key->local.lo, (uint32_t)key->remote.lo};
	const uint16_t ports[3] = {key->local_port, key->remote_port, key->protocol};
	__mmask16 match = 0xffff;

	for (int a = 0; a < 2; a++) {
		__m512i at = _mm512_sub_epi32(_mm512_set1_epi32((int)addresses[a]), _mm512_load_si512(strip->first[a]));

		if (strips->names[a])
			match = _mm512_mask_cmple_epu32_mask(match, at, _mm512_load_si512(strip->span[a]));
	}
	for (int p = 0; p < 3; p++) {
		__m256i at = _mm256_sub_epi16(_mm256_set1_epi16((short)ports[p]), *(const __m256i *)strip->port_first[p]);

		match = _mm256_mask_cmple_epu16_mask(match, at, *(const __m256i *)strip->port_span[p]);
	}
	return match;
}

#define BH_SELECT _pext_u64
#define BH_PACK(word, mask, moves) _pext_u64(word, mask)
#define BH_COMPARE avx512_compare
#define BH_COMPARE4 avx512_compare /* no cheaper for fewer */
#define BH_COMPARE16 avx512_compare16
#define BH_COMPARE16_BITS 1

#include "lookup.h"
#endif
