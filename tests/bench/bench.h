/*
 * bench.h - what contenders of bench-classifier are given, and what they offer.
 */
#ifndef BH_TESTS_BENCH_H
#define BH_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../engine/filter/address.h"
#include "../../engine/filter/packet.h"
#include "../../engine/filter/rule.h"
#include "../../engine/filter/ruleset.h"

/* A line of a ClassBench file; the first that matches wins. */
struct bench_rule {
	struct bh_prefix source, target;
	uint16_t source_port[2], target_port[2];
	uint8_t protocol;
	bool any_protocol;
};

struct bench_packet {
	struct bh_address source, target;
	uint16_t source_port, target_port;
	uint8_t protocol;
};

struct bench_set {
	struct bench_rule *rules;
	struct bench_packet *packets;
	int32_t *first; /* of each packet: the rule that wins, -1 = none */
	struct bh_key *keys; /* the packets as we take them: the source is remote */
	uint32_t rules_count, packets_count;
	bool v6;
};

struct contender {
	const char *name;
	int32_t base, none; /* as it answers: the rule of line 0 (then on by one), and that there is none */
	/* NULL if it cannot have these rules, or there is no such thing here. */
	void *(*build)(const struct bench_set *set, size_t *bytes);
	/* Answers for packets [from, from + count). */
	void (*single)(void *self, uint32_t from, uint32_t count, int32_t *answers);
	void (*batch)(void *self, uint32_t from, uint32_t count, int32_t *answers); /* or NULL */
	void (*tune)(void *self, const struct bench_set *set); /* or NULL: after the build, not timed */
	void (*free)(void *self);
};

extern const struct contender bench_linear, bench_linear_simd, bench_rte_acl;

/* Reads RULES and TRACE (which may be gzipped); exits with a message on what it does not understand. */
void bench_read(struct bench_set *set, const char *rules, const char *trace);

/* A line as a rule: the source is remote. With `ranked`, its line is its priority. */
void bench_rule(struct bh_rule *to, const struct bench_set *set, uint32_t line, bool ranked);
/* All lines, sorted, of one priority: the first that matches wins. */
struct bh_ruleset *bench_ruleset(const struct bench_set *set);

/* Seconds on the clock. */
double bench_now(void);

/* The first line that has the packet, of those that are `in`; -1 = none. */
int32_t bench_linear_among(const void *linear, uint32_t packet, const bool *in);

struct bench_pace {
	double inserts, deletes; /* per second, with what is published */
	uint32_t versions, wrong;
	uint64_t lookups;     /* of another thread, in what was current */
	size_t bytes;         /* of what a builder publishes, with all rules in */
	double single, batch; /* million lookups/s in it */
};

/* Rules go in and out of a builder. */
void bench_pace(const struct bench_set *set, struct bench_pace *pace);

#endif
