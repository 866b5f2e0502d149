/*
 * lookup_avx512.c - the lookup with AVX-512 (F, BW, VL) and BMI2: see lookup.h. Eight boxes a register.
 */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512vl,avx2,bmi,bmi2")

#define BH_NAME(name) bh_avx512_##name

#include <immintrin.h>

#include "space.h"

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

static inline uint32_t avx512_below(const int32_t *keys, uint32_t value)
{
	__m512i all = _mm512_set1_epi32((int)(value ^ BH_AXIS_BIAS));

	return (uint32_t)__builtin_popcount(_mm512_cmpgt_epi32_mask(all, _mm512_load_si512(keys)));
}

static inline __attribute__((always_inline)) uint32_t avx512_meet(const uint64_t *const *rows, uint32_t n,
                                                                  uint32_t words)
{
	uint64_t parts[17] __attribute__((aligned(64)));
	uint32_t some, i;

	if (words == 4) {
		__m256i all = _mm256_load_si256((const __m256i *)rows[0]);

		for (uint32_t r = 1; r < n; r++)
			all = _mm256_and_si256(all, _mm256_load_si256((const __m256i *)rows[r]));
		_mm256_store_si256((__m256i *)parts, all);
		some = _mm256_test_epi64_mask(all, all);
	} else {
		__m512i low = _mm512_load_si512(rows[0]), high = _mm512_setzero_si512();

		if (words == 16)
			high = _mm512_load_si512(rows[0] + 8);
		for (uint32_t r = 1; r < n; r++) {
			low = _mm512_and_si512(low, _mm512_load_si512(rows[r]));
			if (words == 16)
				high = _mm512_and_si512(high, _mm512_load_si512(rows[r] + 8));
		}
		_mm512_store_si512(parts, low);
		some = _mm512_test_epi64_mask(low, low);
		if (words == 16) {
			_mm512_store_si512(parts + 8, high);
			some |= (uint32_t)_mm512_test_epi64_mask(high, high) << 8;
		}
	}
	parts[words] = 1;
	i = (uint32_t)__builtin_ctz(some | 1u << words);
	return 64 * i + (uint32_t)__builtin_ctzll(parts[i]);
}

#define BH_BELOW avx512_below
#define BH_MEET avx512_meet
#define BH_SELECT _pext_u64
#define BH_COMPARE avx512_compare

#include "lookup.h"
#endif
