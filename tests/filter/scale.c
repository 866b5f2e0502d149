/*
 * scale.c - on a scale an address has the label of the last bound that is not above it, whatever bits bounds
 * have in common and however many tell them apart.
 *
 *   scale SCALES [SEED]
 */
#include <stdlib.h>

#include "../../engine/filter/scale.h"
#include "../support/random.h"
#include "../support/report.h"

#define BOUNDS 3000

static int by_address(const void *a, const void *b)
{
	return bh_address_below(a, b) ? -1 : bh_address_below(b, a);
}

static uint64_t random_word(void)
{
	return (uint64_t)random_next() << 32 | random_next();
}

/* About one bit of so many. */
static uint64_t random_mask(uint32_t of)
{
	uint64_t mask = 0;

	for (int i = 0; i < 64; i++)
		mask |= (uint64_t)!random_below(of) << i;
	return mask;
}

/* Bounds that differ in some bits, each once, the first is ::. How many. */
static uint32_t make_bounds(struct bh_address *bounds, struct bh_address *like, struct bh_address *vary)
{
	uint32_t most = 1 + random_below(random_below(2) ? 100 : BOUNDS), kept = 1;

	*like = (struct bh_address){random_word(), random_word()};
	vary->hi = random_below(4) ? random_mask(1 + random_below(random_below(2) ? 3 : 20)) : 0;
	vary->lo = random_below(4) ? random_mask(1 + random_below(random_below(2) ? 3 : 20)) : 0;
	bounds[0] = (struct bh_address){0, 0};
	for (uint32_t i = 1; i < most; i++) {
		bounds[i].hi = like->hi ^ (random_word() & vary->hi);
		bounds[i].lo = like->lo ^ (random_word() & vary->lo);
		if (i > 1 && random_below(2)) {
			bounds[i] = bounds[i - 1];
			bounds[i].lo ^= random_word() & vary->lo & ~0ULL >> (32 + random_below(32));
		}
	}
	qsort(bounds, most, sizeof(*bounds), by_address);
	for (uint32_t i = 1; i < most; i++)
		if (!bh_address_equal(&bounds[i], &bounds[kept - 1]))
			bounds[kept++] = bounds[i];
	return kept;
}

/* A bound, its neighbours, what is like bounds but for a bit or two, or anything. */
static struct bh_address some_address(const struct bh_address *bounds, uint32_t count, const struct bh_address *like,
                                      const struct bh_address *vary)
{
	struct bh_address address = bounds[random_below(count)];

	switch (random_below(6)) {
	case 0:
		return address;
	case 1:
		return bh_address_next(address);
	case 2:
		return bh_address_previous(address);
	case 3:
		return (struct bh_address){random_word(), random_word()};
	default:
		address.hi = like->hi ^ (random_word() & vary->hi);
		address.lo = like->lo ^ (random_word() & vary->lo);
		if (random_below(2))
			address = bounds[random_below(count)];
		for (uint32_t n = random_below(3); n; n--)
			*(random_below(2) ? &address.hi : &address.lo) ^= 1ULL << random_below(64);
		return address;
	}
}

static uint32_t linear(const struct bh_address *bounds, uint32_t count, const struct bh_address *address)
{
	uint32_t last = 0;

	while (last + 1 < count && !bh_address_below(address, &bounds[last + 1]))
		last++;
	return last;
}

int main(int argc, char **argv)
{
	static struct bh_address bounds[BOUNDS + 1];
	static uint32_t labels[BOUNDS + 1];
	uint32_t scales = argc > 1 ? (uint32_t)atol(argv[1]) : 1000, wrong = 0, done = 0, forms[3] = {0};
	char detail[120];

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20250102;
	for (uint32_t s = 0; s < scales; s++) {
		struct bh_scale scale = {{0}};
		struct bh_address like, vary;
		uint32_t count = make_bounds(bounds, &like, &vary);
		bool labelled = random_below(2);

		for (uint32_t i = 0; i < count; i++)
			labels[i] = 7 + 3 * i;
		if (bh_scale_build(&scale, bounds, labelled ? labels : NULL, count))
			abort();
		forms[!scale.levels ? 0 : scale.bounds ? 1 : 2]++;
		for (int i = 0; i < 200; i++, done++) {
			struct bh_address address = some_address(bounds, count, &like, &vary);
			uint32_t want = linear(bounds, count, &address);

			wrong += bh_scale_find(&scale, &address) != (labelled ? labels[want] : want);
		}
		bh_scale_clear(&scale);
	}
	snprintf(detail, sizeof(detail), "%u addresses, %u wrong; %u scales without marks, %u with all bits, %u with some", done,
	         wrong, forms[0], forms[2], forms[1]);
	report("a label is that of the last bound that is not above", !wrong && forms[0] && forms[1] && forms[2], detail);
	return report_counts();
}
