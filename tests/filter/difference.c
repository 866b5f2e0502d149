/*
 * difference.c - the classes of a difference are the difference: held to the linear evaluator.
 *
 *   difference ROUNDS LARGE [SEED]    random pairs of rulesets; a pair of LARGE rules, with its figures
 *
 * Of each pair: every random packet is in exactly one class if the verdicts differ, of the right
 * change, and in none if not; every class has an example that is in it and really differs.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "../../engine/filter/diagram_store.h"
#include "../../engine/filter/difference.h"
#include "../../engine/filter/evaluate.h"
#include "../support/random.h"
#include "../support/report.h"

static void add_rule(struct bh_ruleset *ruleset, struct bh_rule *rule)
{
	if (bh_ruleset_add(ruleset, rule, NULL))
		abort();
}

/* A pair that shares most of its rules, or one of two strangers. */
static void random_pair(struct bh_ruleset *rulesets[2], uint32_t count, bool strangers)
{
	struct bh_words words;
	struct bh_rule rule;

	random_words(&words);
	for (int i = 0; i < 2; i++)
		if (bh_ruleset_new(&rulesets[i], NULL))
			abort();
	for (uint32_t r = 0; r < count; r++) {
		uint64_t seed = random_state;
		bool other = strangers || !random_below(4);

		for (int i = 0; i < 2; i++) {
			if (!other)
				random_state = seed;
			bh_rule_init(&rule, BH_ALLOW, BH_IN);
			if (other && random_below(3) == 0)
				continue;
			random_rule(&rule, r + 1);
			add_rule(rulesets[i], &rule);
		}
	}
	for (int i = 0; i < 2; i++)
		bh_ruleset_set_words(rulesets[i], &words);
}

static uint8_t linear(const struct bh_ruleset *ruleset, const struct bh_conf *conf, const struct bh_key *key)
{
	const struct bh_rule *rule = bh_ruleset_lookup(ruleset, key);

	if (rule)
		return rule->action == BH_BLOCK && !rule->audit ? BH_BLOCK : BH_ALLOW;
	return conf->flags & (key->direction == BH_IN ? BH_CONF_BLOCK_IN : BH_CONF_BLOCK_OUT) ? BH_BLOCK : BH_ALLOW;
}

static bool in_class(const struct bh_difference *difference, const struct bh_difference_class *class,
                     const struct bh_key *key)
{
	for (int f = 0; f < BH_REGION_FIELDS; f++) {
		bool ports = bh_has_ports(key->protocol);

		if ((f == BH_REGION_REMOTE_PORT && !ports) || (f == BH_REGION_LOCAL_PORT && !ports && !bh_is_icmp(key)))
			continue;
		if (!bh_set_contains(bh_diagram_set(difference->diagram, f, class->box.sets[f]),
		                     bh_region_value_of(key, f)))
			return false;
	}
	return true;
}

static uint32_t check_packets(const struct bh_difference *difference, struct bh_ruleset *const rulesets[2],
                              const struct bh_conf confs[2], char detail[400])
{
	uint32_t wrong = 0;

	for (int i = 0; i < 400; i++) {
		struct bh_notation packet;
		uint8_t actions[2];
		struct bh_key key;
		size_t found = 0;
		bool right = true;

		random_notation(&packet);
		if (packet.protocol == BH_PROTO_ICMP6)
			packet.icmp_type = (uint8_t)random_below(16);
		key_of(&key, &packet);
		if (!random_below(8)) { /* ICMP of the other family */
			key.protocol = key.v6 ? BH_PROTO_ICMP : BH_PROTO_ICMP6;
			key.local_port = key.remote_port = 0;
		}
		for (int s = 0; s < 2; s++)
			actions[s] = linear(rulesets[s], &confs[s], &key);
		for (size_t c = 0; c < difference->count; c++) {
			if (!in_class(difference, &difference->classes[c], &key))
				continue;
			found++;
			right = right && (difference->classes[c].change == BH_NEWLY_ALLOWED) == (actions[1] == BH_ALLOW);
		}
		if (found == (actions[0] != actions[1]) && right)
			continue;
		wrong++;
		snprintf(detail, 200, "%s is in %zu of %zu classes; verdicts %s, %s", bh_notation_format(&packet, (char[BH_NOTATION_TEXT]){0}),
		         found, difference->count, bh_action_name(actions[0]), bh_action_name(actions[1]));
	}
	return wrong;
}

static uint32_t check_examples(const struct bh_difference *difference, struct bh_ruleset *const rulesets[2],
                               const struct bh_conf confs[2], char detail[400])
{
	uint32_t wrong = 0;

	for (size_t c = 0; c < difference->count; c++) {
		const struct bh_difference_class *class = &difference->classes[c];
		const struct bh_key *key = &class->example;

		if (in_class(difference, class, key) && key->v6 == !bh_address_is_v4(&key->local) &&
		    key->v6 == !bh_address_is_v4(&key->remote) &&
		    linear(rulesets[0], &confs[0], key) != linear(rulesets[1], &confs[1], key))
			continue;
		wrong++;
		snprintf(detail, 200, "the example of class %zu does not differ", c);
	}
	return wrong;
}

/* Adjacent boxes are merged: no two agree in all fields but one. */
static uint32_t check_minimal(const struct bh_difference *difference, char detail[400])
{
	for (size_t c = 0; c < difference->count; c++)
		for (size_t d = 0; d < c; d++) {
			const struct bh_box *x = &difference->classes[c].box, *y = &difference->classes[d].box;
			int differ = 0, last = 0;

			for (int f = 0; f < BH_REGION_FIELDS; f++)
				if (x->sets[f] != y->sets[f]) {
					differ++;
					last = f;
				}
			if (x->change == y->change && !x->sets[BH_REGION_LOCAL_PORT] &&
			    (!differ || (differ == 1 && last != BH_REGION_DIRECTION))) {
				snprintf(detail, 200, "classes %zu and %zu could be one", d, c);
				return 1;
			}
		}
	return 0;
}

static void random_pairs(uint32_t rounds)
{
	uint32_t wrong = 0, classes = 0, most = 0;
	char detail[400] = "";

	for (uint32_t r = 0; r < rounds && !wrong; r++) {
		static const uint32_t sizes[] = {0, 1, 2, 5, 12, 30};
		struct bh_difference difference = {0};
		struct bh_ruleset *rulesets[2];
		struct bh_conf confs[2];
		struct bh_error err = {0};
		struct bh_side sides[2] = {0};

		random_pair(rulesets, sizes[random_below(6)], !random_below(4));
		for (int i = 0; i < 2; i++) {
			bh_conf_init(&confs[i]);
			confs[i].flags = BH_CONF_ROUTER | BH_CONF_DHCP_SERVER;
			confs[i].flags |= i && random_below(4) ? confs[0].flags : random_below(4) << 3;
			sides[i] = (struct bh_side){.conf = &confs[i], .rulesets = {rulesets[i]}};
		}
		if (bh_difference_init(&difference, sides, BH_DIFFERENCE_BUDGET, &err)) {
			snprintf(detail, sizeof(detail), "round %u: %.300s", r, err.message);
			wrong++;
		} else {
			wrong += check_packets(&difference, rulesets, confs, detail);
			wrong += check_examples(&difference, rulesets, confs, detail);
			wrong += check_minimal(&difference, detail);
			classes += (uint32_t)difference.count;
			most = difference.count > most ? (uint32_t)difference.count : most;
			for (size_t c = 0; c < difference.count; c++) {
				static const char *const fields[] = {"protocol", "local", "remote", "local_port", "icmp"};

				for (size_t f = 0; f < 5; f++)
					free(bh_difference_field(&difference, &difference.classes[c], fields[f]));
			}
		}
		bh_difference_clear(&difference);
		bh_ruleset_free(&rulesets[0]);
		bh_ruleset_free(&rulesets[1]);
	}
	if (!wrong)
		snprintf(detail, sizeof(detail), "%u pairs, %u packets, %u classes, at most %u of a pair", rounds,
		         rounds * 400, classes, most);
	report("classes = linear difference", !wrong, detail);
}

/* What a company's list looks like: prefixes and ports, at some priorities. */
static void large_rule(struct bh_rule *rule, uint32_t id)
{
	char text[80];
	uint32_t a = random_below(256), b = random_below(256), c = random_below(256);

	bh_rule_init(rule, random_below(2) ? BH_BLOCK : BH_ALLOW, random_below(2) ? BH_OUT : BH_IN);
	rule->id = id;
	sprintf(text, "%u", 100 + random_below(20));
	bh_rule_set(rule, "priority", text, NULL);
	bh_rule_set(rule, "protocol", random_below(3) ? "tcp" : "udp", NULL);
	if (random_below(3))
		sprintf(text, "%u.%u.%u.0/24", a, b, c);
	else
		sprintf(text, "%u.%u.0.0/16", a, b);
	bh_rule_set(rule, "remote", text, NULL);
	if (random_below(3)) {
		sprintf(text, "%u", random_below(1000));
		bh_rule_set(rule, rule->direction == BH_IN ? "local_port" : "remote_port", text, NULL);
	}
}

/*
 * The most memory it had at once, in bytes. Under AddressSanitizer the process holds more (red zones,
 * what was freed lately), so there its allocator is asked about each block.
 */
#ifdef __SANITIZE_ADDRESS__
/* Of the sanitizer's runtime, whose headers not every compiler brings. */
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t), void (*)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *);

static size_t held, most_held;

static void count_malloc(const volatile void *block, size_t size)
{
	(void)block;
	held += size;
	most_held = held > most_held ? held : most_held;
}

static void count_free(const volatile void *block)
{
	if (block)
		held -= __sanitizer_get_allocated_size(block);
}

static void memory_count(void)
{
	held = most_held = 0;
	__sanitizer_install_malloc_and_free_hooks(count_malloc, count_free);
}

static size_t memory_most(void)
{
	return most_held;
}
#else
static void memory_count(void)
{
}

static size_t memory_most(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (size_t)usage.ru_maxrss * 1024;
}
#endif

static void large_pair(uint32_t count)
{
	struct bh_ruleset *rulesets[2];
	struct bh_difference difference = {0};
	struct bh_side sides[2];
	struct bh_conf conf;
	struct bh_error err = {0};
	struct timespec start, end;
	char detail[400];
	double seconds;

	memory_count(); /* the rulesets, too */
	bh_conf_init(&conf);
	conf.flags |= BH_CONF_BLOCK_IN;
	for (int i = 0; i < 2; i++)
		if (bh_ruleset_new(&rulesets[i], NULL))
			abort();
	for (uint32_t r = 0; r < count; r++) {
		uint64_t seed = random_state;
		struct bh_rule rule;

		for (int i = 0; i < 2; i++) {
			random_state = seed;
			large_rule(&rule, r + 1);
			if (i && r % (count / 20 + 1) == 7) /* an edit: the action, a port more, or gone */
				rule.action = !rule.action;
			if (i && r % (count / 20 + 1) == 8)
				bh_rule_set(&rule, "local_port", "1-2000", NULL);
			if (i && r % (count / 20 + 1) == 9)
				bh_rule_clear(&rule);
			else
				add_rule(rulesets[i], &rule);
		}
	}
	for (int i = 0; i < 2; i++)
		sides[i] = (struct bh_side){.conf = &conf, .rulesets = {rulesets[i]}};
	clock_gettime(CLOCK_MONOTONIC, &start);
	bh_difference_init(&difference, sides, BH_DIFFERENCE_BUDGET, &err);
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	snprintf(detail, sizeof(detail), "%u rules: %zu classes in %.2f s, %llu million steps, %zu MiB at most%s%s",
	         count, difference.count, seconds,
	         difference.diagram ? (unsigned long long)difference.diagram->spent / 1000000 : 0,
	         memory_most() >> 20, err.code ? "; " : "", err.message);
	report("a large set against an edited copy", !err.code && difference.count && memory_most() < 1 << 30, detail);
	bh_difference_clear(&difference);
	/* And one for which the budget is too small. */
	if (bh_difference_init(&difference, sides, 1000, &err) != -E2BIG)
		report("a budget holds", false, "");
	else
		report("a budget holds", true, err.message);
	bh_difference_clear(&difference);
	bh_ruleset_free(&rulesets[0]);
	bh_ruleset_free(&rulesets[1]);
}

int main(int argc, char **argv)
{
	uint32_t rounds = argc > 1 ? (uint32_t)atol(argv[1]) : 3000;
	uint32_t large = argc > 2 ? (uint32_t)atol(argv[2]) : 10000;

	random_state = argc > 3 ? (uint64_t)atol(argv[3]) : 20250101;
	random_pairs(rounds);
	large_pair(large);
	return report_counts();
}
