/*
 * bounds.c - bounds come and go, and their labels stay, ascend as they do, and seldom run out.
 */
#include <errno.h>
#include <stdlib.h>

#include "../../engine/filter/bounds.h"
#include "../support/random.h"
#include "../support/report.h"

#define HOSTS 20000

/* Labels that do not ascend, or are not what a bound is said to have. */
static uint32_t count_wrong(const struct bh_bounds *bounds)
{
	uint32_t wrong = bounds->placed != bounds->count;

	for (uint32_t i = 0; i < bounds->placed; i++) {
		wrong += i && !bh_address_below(&bounds->sorted[i - 1], &bounds->sorted[i]);
		wrong += i && bounds->labels[i - 1] >= bounds->labels[i];
		wrong += bh_bounds_label(bounds, &bounds->sorted[i]) != bounds->labels[i];
	}
	return wrong;
}

static struct bh_address some_address(void)
{
	struct bh_address address = {0xfd00000000000000 | (uint64_t)random_below(30) << 16, random_below(3000)};

	if (!random_below(4))
		address.lo |= (uint64_t)random_next() << 32;
	return address;
}

/* Places bounds, where there is no room anew: true. */
static bool place(struct bh_bounds *bounds)
{
	int rc = bh_bounds_place(bounds, false);

	if (rc && (rc != -ERANGE || bh_bounds_place(bounds, true)))
		abort();
	return rc;
}

/* At random, some at a time; those that stay keep their labels. */
static void change_at_random(void)
{
	static struct bh_address in[4000];
	struct bh_bounds bounds = {0};
	uint32_t count = 0, wrong = 0, most = 0, anew = 0;
	char detail[80];

	for (uint32_t round = 0; round < 300; round++) {
		struct bh_address watched = {0, 0};
		uint32_t label = 0;

		if (round % 50 == 49) /* most go */
			for (; count > 100; count--)
				bh_bounds_leave(&bounds, &in[count - 1]);
		for (uint32_t n = random_below(200); n && count < 4000; n--, count++) {
			in[count] = some_address();
			if (bh_bounds_use(&bounds, &in[count]) == BH_BOUND_NONE)
				abort();
		}
		if (bounds.placed) {
			watched = bounds.sorted[random_below(bounds.placed)];
			label = bh_bounds_label(&bounds, &watched);
		}
		if (!place(&bounds))
			wrong += bh_bounds_label(&bounds, &watched) != label;
		else
			anew++;
		wrong += count_wrong(&bounds);
		bh_bounds_tidy(&bounds);
		wrong += count_wrong(&bounds);
		most = bounds.count > 2 * (count + 100) ? bounds.count : most;
	}
	bh_bounds_clear(&bounds);
	snprintf(detail, sizeof(detail), "%u wrong, %u too many, all labelled %u times", wrong, most, anew);
	report("labels ascend as bounds do, and stay", !wrong && !most && anew < 20, detail);
}

/* Many bounds; then others one at a time, in an order that asks for the same gap again and again: how often all are labelled. */
static uint32_t crowd(uint32_t count, struct bh_address (*next)(uint32_t), uint32_t *wrong)
{
	struct bh_bounds bounds = {0};
	uint32_t anew = 0;

	for (uint32_t i = 0; i < HOSTS; i++)
		bh_bounds_use(&bounds, &(struct bh_address){0xfd00000000000000 | (i % 100) << 16, i / 100});
	bh_bounds_place(&bounds, true);
	for (uint32_t i = 0; i < count; i++) {
		struct bh_address address = next(i);

		bh_bounds_use(&bounds, &address);
		anew += place(&bounds);
	}
	*wrong += count_wrong(&bounds);
	bh_bounds_clear(&bounds);
	return anew;
}

static struct bh_address ascending(uint32_t i)
{
	return (struct bh_address){0xfd00000000500000, 0x10000 + i};
}

static struct bh_address descending(uint32_t i)
{
	return (struct bh_address){0xfd00000000500000, 0x20000 - i};
}

static struct bh_address apart(uint32_t i)
{
	return (struct bh_address){0xfd00000000500000, 0x10000 + (uint64_t)i * 4096};
}

static struct bh_address halves(uint32_t i)
{
	return (struct bh_address){0xfd00000000500000, 0x10000 + (1ULL << 60 >> i)};
}

int main(int argc, char **argv)
{
	uint32_t wrong = 0, anew[4];
	char detail[80];

	random_state = argc > 1 ? (uint64_t)atol(argv[1]) : 20250102;
	change_at_random();
	anew[0] = crowd(2000, ascending, &wrong);
	anew[1] = crowd(2000, descending, &wrong);
	anew[2] = crowd(2000, apart, &wrong);
	anew[3] = crowd(50, halves, &wrong);
	snprintf(detail, sizeof(detail), "ascending %u, descending %u, apart %u, halves %u times; %u wrong", anew[0], anew[1],
	         anew[2], anew[3], wrong);
	report("a gap that is crowded seldom costs all labels", !wrong && anew[0] + anew[1] + anew[2] + anew[3] <= 4, detail);
	return report_counts();
}
