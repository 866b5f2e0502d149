/*
 * linear.c - contenders: every rule in turn, and sixteen at once.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct plain_rule {
	struct bh_address first[2], last[2];
	uint16_t ports[2][2];
	uint8_t protocol[2];
};

struct linear {
	const struct bench_set *set;
	struct plain_rule *rules;
	uint32_t blocks;
	uint32_t *wide;  /* per block of 16: first, span of source and target: 4 * 16 */
	uint16_t *small; /* per block: first, span of ports and protocol: 6 * 16 */
};

static void *linear_build(const struct bench_set *set, size_t *bytes)
{
	struct linear *linear = calloc(1, sizeof(*linear));

	linear->set = set;
	linear->rules = calloc(set->rules_count, sizeof(*linear->rules));
	for (uint32_t i = 0; i < set->rules_count; i++) {
		const struct bench_rule *rule = &set->rules[i];
		struct bh_range ranges[2] = {bh_prefix_range(&rule->source), bh_prefix_range(&rule->target)};
		struct plain_rule *to = &linear->rules[i];

		for (int a = 0; a < 2; a++) {
			to->first[a] = ranges[a].first;
			to->last[a] = ranges[a].last;
			to->ports[0][a] = rule->source_port[a];
			to->ports[1][a] = rule->target_port[a];
		}
		to->protocol[0] = rule->any_protocol ? 0 : rule->protocol;
		to->protocol[1] = rule->any_protocol ? 255 : rule->protocol;
	}
	*bytes = set->rules_count * sizeof(*linear->rules);
	return linear;
}

static bool plain_matches(const struct plain_rule *rule, const struct bench_packet *packet)
{
	return packet->target_port >= rule->ports[1][0] && packet->target_port <= rule->ports[1][1] &&
	       packet->source_port >= rule->ports[0][0] && packet->source_port <= rule->ports[0][1] &&
	       packet->protocol >= rule->protocol[0] && packet->protocol <= rule->protocol[1] &&
	       !bh_address_below(&packet->source, &rule->first[0]) &&
	       !bh_address_below(&rule->last[0], &packet->source) &&
	       !bh_address_below(&packet->target, &rule->first[1]) &&
	       !bh_address_below(&rule->last[1], &packet->target);
}

static void linear_single(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	const struct linear *linear = self;
	const struct bench_set *set = linear->set;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = 0;

		while (r < set->rules_count && !plain_matches(&linear->rules[r], &set->packets[from + i]))
			r++;
		answers[i] = r < set->rules_count ? (int32_t)r : -1;
	}
}

int32_t bench_linear_among(const void *self, uint32_t packet, const bool *in)
{
	const struct linear *linear = self;

	for (uint32_t r = 0; r < linear->set->rules_count; r++)
		if (in[r] && plain_matches(&linear->rules[r], &linear->set->packets[packet]))
			return (int32_t)r;
	return -1;
}

static void linear_free(void *self)
{
	struct linear *linear = self;

	free(linear->rules);
	free(linear->wide);
	free(linear->small);
	free(linear);
}

const struct contender bench_linear = {"linear", 0, -1, linear_build, linear_single, NULL, NULL, linear_free};

#ifdef __x86_64__
#include <immintrin.h>

#define SIMD512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define SIMD256 __attribute__((target("avx2")))

static void *simd_build(const struct bench_set *set, size_t *bytes)
{
	struct linear *linear;

	if (set->v6 || !__builtin_cpu_supports("avx2"))
		return NULL;
	linear = linear_build(set, bytes);
	linear->blocks = (set->rules_count + 15) / 16;
	linear->wide = aligned_alloc(64, linear->blocks * 256);
	linear->small = aligned_alloc(64, linear->blocks * 192);
	memset(linear->wide, 0, linear->blocks * 256);
	memset(linear->small, 0, linear->blocks * 192);
	for (uint32_t i = 0; i < linear->blocks * 16; i++) {
		uint32_t *wide = &linear->wide[i / 16 * 64 + i % 16];
		uint16_t *small = &linear->small[i / 16 * 96 + i % 16];
		const struct plain_rule *rule = &linear->rules[i];

		if (i >= set->rules_count) {
			small[64] = 0xffff; /* no protocol */
			continue;
		}
		for (int a = 0; a < 2; a++) {
			wide[32 * a] = (uint32_t)rule->first[a].lo;
			wide[32 * a + 16] = (uint32_t)(rule->last[a].lo - rule->first[a].lo);
			small[32 * a] = rule->ports[a][0];
			small[32 * a + 16] = (uint16_t)(rule->ports[a][1] - rule->ports[a][0]);
		}
		small[64] = rule->protocol[0];
		small[80] = (uint16_t)(rule->protocol[1] - rule->protocol[0]);
	}
	*bytes = linear->blocks * 448;
	return linear;
}

SIMD512 static inline void simd512(const struct linear *linear, uint32_t from, uint32_t count, int32_t *answers)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct bench_packet *packet = &linear->set->packets[from + i];
		__m512i source = _mm512_set1_epi32((int)packet->source.lo);
		__m512i target = _mm512_set1_epi32((int)packet->target.lo);
		__m256i port[3] = {_mm256_set1_epi16((short)packet->source_port),
		                   _mm256_set1_epi16((short)packet->target_port), _mm256_set1_epi16(packet->protocol)};

		answers[i] = -1;
		for (uint32_t b = 0; b < linear->blocks; b++) {
			const __m512i *wide = (const __m512i *)(linear->wide + 64 * b);
			const __m256i *small = (const __m256i *)(linear->small + 96 * b);
			__mmask16 match = _mm512_cmple_epu32_mask(_mm512_sub_epi32(source, wide[0]), wide[1]);

			match = _mm512_mask_cmple_epu32_mask(match, _mm512_sub_epi32(target, wide[2]), wide[3]);
			for (int p = 0; p < 3; p++)
				match = _mm256_mask_cmple_epu16_mask(match, _mm256_sub_epi16(port[p], small[2 * p]), small[2 * p + 1]);
			if (match) {
				answers[i] = (int32_t)(16 * b) + __builtin_ctz(match);
				break;
			}
		}
	}
}

SIMD256 static inline void simd256(const struct linear *linear, uint32_t from, uint32_t count, int32_t *answers)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct bench_packet *packet = &linear->set->packets[from + i];
		__m256i source = _mm256_set1_epi32((int)packet->source.lo);
		__m256i target = _mm256_set1_epi32((int)packet->target.lo);
		__m256i port[3] = {_mm256_set1_epi16((short)packet->source_port),
		                   _mm256_set1_epi16((short)packet->target_port), _mm256_set1_epi16(packet->protocol)};

		answers[i] = -1;
		for (uint32_t b = 0; b < linear->blocks; b++) {
			const __m256i *wide = (const __m256i *)(linear->wide + 64 * b);
			const __m256i *small = (const __m256i *)(linear->small + 96 * b);
			__m256i over = _mm256_setzero_si256(), half[2];
			uint32_t match;

			for (int h = 0; h < 2; h++) {
				__m256i s = _mm256_sub_epi32(source, wide[h]), t = _mm256_sub_epi32(target, wide[4 + h]);

				half[h] = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_min_epu32(s, wide[2 + h]), s),
				                           _mm256_cmpeq_epi32(_mm256_min_epu32(t, wide[6 + h]), t));
			}
			for (int p = 0; p < 3; p++)
				over = _mm256_or_si256(over, _mm256_subs_epu16(_mm256_sub_epi16(port[p], small[2 * p]), small[2 * p + 1]));
			over = _mm256_cmpeq_epi16(over, _mm256_setzero_si256());
			half[0] = _mm256_permute4x64_epi64(_mm256_packs_epi32(half[0], half[1]), 0xd8);
			match = (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(over, half[0]));
			if (match) {
				answers[i] = (int32_t)(16 * b) + __builtin_ctz(match) / 2;
				break;
			}
		}
	}
}

SIMD512 static void simd512_batch(const struct linear *linear, uint32_t from, uint32_t count, int32_t *answers)
{
	simd512(linear, from, count, answers);
}

SIMD256 static void simd256_batch(const struct linear *linear, uint32_t from, uint32_t count, int32_t *answers)
{
	simd256(linear, from, count, answers);
}

static void simd_batch(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
		simd512_batch(self, from, count, answers);
	else
		simd256_batch(self, from, count, answers);
}

/* As for the others: one call a packet. */
SIMD512 static __attribute__((noinline)) int32_t simd512_one(const struct linear *linear, uint32_t at)
{
	int32_t answer;

	simd512(linear, at, 1, &answer);
	return answer;
}

SIMD256 static __attribute__((noinline)) int32_t simd256_one(const struct linear *linear, uint32_t at)
{
	int32_t answer;

	simd256(linear, at, 1, &answer);
	return answer;
}

static void simd_single(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	bool wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");

	for (uint32_t i = 0; i < count; i++)
		answers[i] = wide ? simd512_one(self, from + i) : simd256_one(self, from + i);
}

const struct contender bench_linear_simd = {"linear_simd", 0, -1, simd_build, simd_single, simd_batch, NULL, linear_free};
#else
static void *simd_build(const struct bench_set *set, size_t *bytes)
{
	(void)set, (void)bytes;
	return NULL;
}

const struct contender bench_linear_simd = {"linear_simd", 0, -1, simd_build, NULL, NULL, NULL, NULL};
#endif
