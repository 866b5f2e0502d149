/*
 * lookup_few.h - the way of a packet through the form of few.h: part of lookup.h. Whether local
 * addresses and remote ports are compared is a constant of each function.
 */
#ifdef __AVX2__
static inline __m256i BH_NAME(fit)(__m256i address, __m256i mask, __m256i value)
{
	return _mm256_cmpeq_epi32(_mm256_and_si256(address, mask), value);
}

static inline __m256i BH_NAME(port_fit)(__m256i port, __m256i first, __m256i span)
{
	__m256i at = _mm256_sub_epi16(port, first);

	return _mm256_cmpeq_epi16(_mm256_min_epu16(at, span), at);
}

/* The boxes stay in registers from packet to packet; the packet is spread over one where it is read. */
static inline __attribute__((always_inline)) void
BH_NAME(few)(const struct bh_few *few, bool local, bool remote_ports, const struct bh_key *key, uint32_t count,
             uint32_t *labels)
{
	const __m256i *mask = (const __m256i *)few->mask, *value = (const __m256i *)few->value;
	const __m256i *first = (const __m256i *)few->port_first, *span = (const __m256i *)few->port_span;
	const __m256i masks[4] = {mask[0], mask[1], mask[2], mask[3]};
	const __m256i values[4] = {value[0], value[1], value[2], value[3]};
	const __m256i firsts = first[0], spans = span[0]; /* no room for those of remote ports */

	for (const struct bh_key *end = key + count; key < end; key++, labels++) {
		__m256i address = _mm256_set1_epi32((int)key->remote.lo), match;
		uint32_t bits;
		__m256i low = BH_NAME(fit)(address, masks[2], values[2]);
		__m256i high = BH_NAME(fit)(address, masks[3], values[3]);

		if (local) {
			address = _mm256_set1_epi32((int)key->local.lo);
			low = _mm256_and_si256(low, BH_NAME(fit)(address, masks[0], values[0]));
			high = _mm256_and_si256(high, BH_NAME(fit)(address, masks[1], values[1]));
		}
		match = BH_NAME(port_fit)(_mm256_set1_epi16((short)key->local_port), firsts, spans);
		if (remote_ports)
			match = _mm256_and_si256(match, BH_NAME(port_fit)(_mm256_set1_epi16((short)key->remote_port),
			                                                  first[1], span[1]));
		match = _mm256_and_si256(match, _mm256_packs_epi32(low, high));
		bits = (uint32_t)_mm256_movemask_epi8(match) & few->protocols[key->protocol];
		/* Two bits a label of four bytes. */
		*labels = *(const uint32_t *)((const char *)few->labels + 2 * (size_t)_tzcnt_u32(bits));
	}
}
#else
static inline bool BH_NAME(few_fits)(const struct bh_few *few, uint32_t i, const struct bh_key *key)
{
	uint32_t at = bh_few_at(i);

	return ((uint32_t)key->local.lo & few->mask[0][at]) == few->value[0][at] &&
	       ((uint32_t)key->remote.lo & few->mask[1][at]) == few->value[1][at] &&
	       (uint16_t)(key->local_port - few->port_first[0][i]) <= few->port_span[0][i] &&
	       (uint16_t)(key->remote_port - few->port_first[1][i]) <= few->port_span[1][i];
}

static inline void BH_NAME(few)(const struct bh_few *few, bool local, bool remote_ports, const struct bh_key *key,
                                uint32_t count, uint32_t *labels)
{
	(void)local, (void)remote_ports;
	for (uint32_t k = 0; k < count; k++) {
		uint32_t left = few->protocols[key[k].protocol] & 0x55555555, i = BH_FEW_BOXES;

		while (left && (i = (uint32_t)__builtin_ctz(left) / 2, !BH_NAME(few_fits)(few, i, &key[k])))
			left &= left - 1;
		labels[k] = few->labels[left ? i : BH_FEW_BOXES];
	}
}
#endif

/* The usual packets, of a direction: every load counts here, and this one is saved. */
#define BH_FEW_USUAL(name, way, direction, local, remote_ports)                                      \
	static uint32_t BH_NAME(name##_##way)(const struct bh_classifier *classifier, const struct bh_key *key) \
	{                                                                                                \
		uint32_t label;                                                                              \
                                                                                                     \
		if (__builtin_expect(bh_kind_of(key) != BH_KIND(0, direction), 0))                            \
			return bh_lookup_further(classifier, key);                                               \
		BH_NAME(few)(classifier->few, local, remote_ports, key, 1, &label);                          \
		return label;                                                                                \
	}

#define BH_FEW_FORM(name, local, remote_ports)                                                       \
	static uint32_t BH_NAME(name##_one)(const struct bh_space *space, const struct bh_key *key)      \
	{                                                                                                \
		uint32_t label;                                                                              \
                                                                                                     \
		BH_NAME(few)(space->few, local, remote_ports, key, 1, &label);                               \
		return label;                                                                                \
	}                                                                                                \
	static void BH_NAME(name##_all)(const struct bh_space *space, const struct bh_key *keys,         \
	                                uint32_t count, uint32_t *labels)                                \
	{                                                                                                \
		BH_NAME(few)(space->few, local, remote_ports, keys, count, labels);                          \
	}                                                                                                \
	BH_FEW_USUAL(name, in, BH_IN, local, remote_ports)                                               \
	BH_FEW_USUAL(name, out, BH_OUT, local, remote_ports)                                             \
	static void BH_NAME(bind_##name)(struct bh_space *space)                                         \
	{                                                                                                \
		space->one = BH_NAME(name##_one);                                                            \
		space->all = BH_NAME(name##_all);                                                            \
		space->usual = space->direction == BH_OUT ? BH_NAME(name##_out) : BH_NAME(name##_in);        \
	}

BH_FEW_FORM(few_none, false, false)
BH_FEW_FORM(few_local, true, false)
BH_FEW_FORM(few_ports, false, true)
BH_FEW_FORM(few_local_ports, true, true)

#undef BH_FEW_FORM
#undef BH_FEW_USUAL

static void BH_NAME(bind_few)(struct bh_space *space)
{
	if (space->few->remote_ports)
		space->few->local ? BH_NAME(bind_few_local_ports)(space) : BH_NAME(bind_few_ports)(space);
	else
		space->few->local ? BH_NAME(bind_few_local)(space) : BH_NAME(bind_few_none)(space);
}
