/*
 * lookup_scale.h - the way of an IPv6 packet: its addresses to their labels on the scales of scale.h, then
 * whatever form its space has. Part of lookup.h.
 */

/* Of sixteen ascending marks, the index of the last that is not above `mark`; the first is not. */
static inline uint32_t BH_NAME(last_of)(const int64_t *marks, int64_t mark)
{
#if defined(__AVX512F__)
	__m512i all = _mm512_set1_epi64(mark);
	uint32_t below = (uint32_t)_mm512_cmple_epi64_mask(_mm512_load_si512(marks), all) |
	                 (uint32_t)_mm512_cmple_epi64_mask(_mm512_load_si512(marks + 8), all) << 8;

	return (uint32_t)__builtin_popcount(below) - 1;
#elif defined(__AVX2__)
	const __m256i *four = (const __m256i *)marks;
	__m256i all = _mm256_set1_epi64x(mark);
	__m256i low = _mm256_packs_epi32(_mm256_cmpgt_epi64(four[0], all), _mm256_cmpgt_epi64(four[1], all));
	__m256i high = _mm256_packs_epi32(_mm256_cmpgt_epi64(four[2], all), _mm256_cmpgt_epi64(four[3], all));
	uint32_t above = (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(low, high)); /* two bits a mark */

	return 15 - (uint32_t)__builtin_popcount(above) / 2;
#else
	const int64_t *at = marks;

	for (uint32_t half = BH_SCALE_WAYS / 2; half; half /= 2) {
		bool reached = at[half] <= mark;

		at = __builtin_expect_with_probability(reached, 1, 0.5) ? at + half : at;
	}
	return (uint32_t)(at - marks);
#endif
}

static inline __attribute__((always_inline)) uint32_t BH_NAME(label_of)(const struct bh_scale *scale,
                                                                        const struct bh_address *address)
{
	uint64_t words[2];
	int64_t under, mark;
	uint32_t at = 0;

	if (!scale->levels) {
		at = bh_scale_few(scale, address);
		return scale->labels ? scale->labels[at] : at;
	}
	under = bh_scale_clamp(scale, address, words);
	mark = (int64_t)(BH_PACK(words[0], scale->vary[0], scale->moves[0]) << scale->low |
	                 BH_PACK(words[1], scale->vary[1], scale->moves[1])) + 1 - under;
	for (uint32_t l = scale->levels; l-- > 0;)
		at = at * BH_SCALE_WAYS + BH_NAME(last_of)(scale->marks + scale->starts[l] + at * BH_SCALE_WAYS, mark);
	if (__builtin_expect(scale->bounds != NULL, 0) && bh_address_below(address, &scale->bounds[at]))
		at = bh_scale_among(scale, address, at);
	return scale->labels ? scale->labels[at] : at;
}

/* What of a packet is not an address. */
static inline void BH_NAME(copy_rest)(struct bh_key *to, const struct bh_key *from)
{
	memcpy(&to->local_port, &from->local_port, sizeof(*to) - offsetof(struct bh_key, local_port));
}

/* The packet as it is in a form of labels. */
static inline void BH_NAME(scale_key)(const struct bh_space *space, struct bh_key *to, const struct bh_key *from)
{
	BH_NAME(copy_rest)(to, from);
	to->local.lo = BH_NAME(label_of)(&space->scales[0], &from->local);
	to->remote.lo = BH_NAME(label_of)(&space->scales[1], &from->remote);
}

static inline uint32_t BH_NAME(scaled_one)(const struct bh_space *space, const struct bh_key *key)
{
	struct bh_key to;

	BH_NAME(scale_key)(space, &to, key);
	return space->scaled_one(space, &to);
}

BH_USUAL(scaled)

static void BH_NAME(scaled_all)(const struct bh_space *space, const struct bh_key *keys, uint32_t count,
                                uint32_t *labels)
{
	const struct bh_scale *scales = space->scales;
	struct bh_key to[BH_CHUNK];

	if (scales[0].levels || scales[1].levels || scales[0].labels)
		for (uint32_t i = 0; i < count; i++)
			BH_NAME(scale_key)(space, &to[i], &keys[i]);
	else
		for (uint32_t i = 0; i < count; i++) {
			BH_NAME(copy_rest)(&to[i], &keys[i]);
			to[i].local.lo = bh_scale_few(&scales[0], &keys[i].local);
			to[i].remote.lo = bh_scale_few(&scales[1], &keys[i].remote);
		}
	space->scaled_all(space, to, count, labels);
}
