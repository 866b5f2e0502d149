/*
 * acl.c - contender: DPDK's rte_acl, in its fastest algorithm and size of batch for these rules.
 */
#include "bench.h"

#ifdef BH_HAVE_DPDK
#include <arpa/inet.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_malloc.h>

#define FIELDS_MAX 11

struct header {
	uint8_t protocol;
	uint8_t pad[3];
	uint32_t source[4]; /* IPv4: [0] */
	uint32_t target[4];
	uint16_t source_port, target_port;
};

RTE_ACL_RULE_DEF(acl_rule, FIELDS_MAX);

struct acl {
	struct rte_acl_ctx *context;
	struct header *headers;
	const uint8_t **pointers;
	uint32_t batch;
};

static struct rte_acl_field_def defs[FIELDS_MAX];
static uint32_t fields;

static void define(uint8_t type, uint8_t size, uint8_t input, size_t offset)
{
	defs[fields] = (struct rte_acl_field_def){type, size, (uint8_t)fields, input, (uint32_t)offset};
	fields++;
}

static void define_all(uint32_t words)
{
	fields = 0;
	define(RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, offsetof(struct header, protocol));
	for (uint32_t w = 0; w < words; w++)
		define(RTE_ACL_FIELD_TYPE_MASK, 4, (uint8_t)(1 + w), offsetof(struct header, source) + 4 * w);
	for (uint32_t w = 0; w < words; w++)
		define(RTE_ACL_FIELD_TYPE_MASK, 4, (uint8_t)(1 + words + w), offsetof(struct header, target) + 4 * w);
	define(RTE_ACL_FIELD_TYPE_RANGE, 2, (uint8_t)(1 + 2 * words), offsetof(struct header, source_port));
	define(RTE_ACL_FIELD_TYPE_RANGE, 2, (uint8_t)(1 + 2 * words), offsetof(struct header, target_port));
}

static uint32_t word_of(const struct bh_address *address, uint32_t words, uint32_t w)
{
	if (words == 1)
		return (uint32_t)address->lo;
	return (uint32_t)((w < 2 ? address->hi : address->lo) >> (w & 1 ? 0 : 32));
}

static void set_prefix(struct rte_acl_field *to, const struct bh_prefix *prefix, uint32_t words)
{
	for (uint32_t w = 0; w < words; w++) {
		int length = prefix->length - 32 * (int)w;

		to[w].value.u32 = word_of(&prefix->address, words, w);
		to[w].mask_range.u32 = (uint32_t)(length < 0 ? 0 : length > 32 ? 32 : length);
	}
}

static int add_rule(struct rte_acl_ctx *context, const struct bench_rule *rule, uint32_t index, uint32_t words)
{
	struct acl_rule to;

	memset(&to, 0, sizeof(to));
	to.data.category_mask = 1;
	to.data.priority = (int32_t)(RTE_ACL_MAX_PRIORITY - (int32_t)index);
	to.data.userdata = index + 1;
	to.field[0].value.u8 = rule->any_protocol ? 0 : rule->protocol;
	to.field[0].mask_range.u8 = rule->any_protocol ? 0 : 0xff;
	set_prefix(&to.field[1], &rule->source, words);
	set_prefix(&to.field[1 + words], &rule->target, words);
	to.field[1 + 2 * words].value.u16 = rule->source_port[0];
	to.field[1 + 2 * words].mask_range.u16 = rule->source_port[1];
	to.field[2 + 2 * words].value.u16 = rule->target_port[0];
	to.field[2 + 2 * words].mask_range.u16 = rule->target_port[1];
	return rte_acl_add_rules(context, (const struct rte_acl_rule *)&to, 1);
}

static bool start(void)
{
	static int started;
	char *args[] = {"bench", "--no-huge", "-m", "4096", "--no-pci", "--no-telemetry",
	                "--no-shconf", "--log-level=critical", "-l", "0", "--force-max-simd-bitwidth=512", NULL};

	if (!started)
		started = rte_eal_init(sizeof(args) / sizeof(*args) - 1, args) < 0 ? -1 : 1;
	return started > 0;
}

static void make_headers(struct acl *acl, const struct bench_set *set, uint32_t words)
{
	acl->headers = calloc(set->packets_count, sizeof(*acl->headers));
	acl->pointers = calloc(set->packets_count, sizeof(*acl->pointers));
	for (uint32_t i = 0; i < set->packets_count; i++) {
		const struct bench_packet *packet = &set->packets[i];
		struct header *header = &acl->headers[i];

		header->protocol = packet->protocol;
		header->source_port = htons(packet->source_port);
		header->target_port = htons(packet->target_port);
		for (uint32_t w = 0; w < words; w++) {
			header->source[w] = htonl(word_of(&packet->source, words, w));
			header->target[w] = htonl(word_of(&packet->target, words, w));
		}
		acl->pointers[i] = (const uint8_t *)header;
	}
}

static void acl_batch(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	struct acl *acl = self;

	for (uint32_t i = 0; i < count; i += acl->batch) {
		uint32_t n = count - i < acl->batch ? count - i : acl->batch;

		rte_acl_classify(acl->context, acl->pointers + from + i, (uint32_t *)answers + i, n, 1);
	}
}

static void acl_single(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	struct acl *acl = self;

	for (uint32_t i = 0; i < count; i++)
		rte_acl_classify(acl->context, acl->pointers + from + i, (uint32_t *)answers + i, 1, 1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Leaves the context in the fastest of what it can do. */
static void choose(void *self, const struct bench_set *set)
{
	struct acl *acl = self;
	static const enum rte_acl_classify_alg algorithms[] = {RTE_ACL_CLASSIFY_SSE, RTE_ACL_CLASSIFY_AVX2,
		RTE_ACL_CLASSIFY_AVX512X16, RTE_ACL_CLASSIFY_AVX512X32, RTE_ACL_CLASSIFY_NEON};
	enum rte_acl_classify_alg best = RTE_ACL_CLASSIFY_DEFAULT;
	uint32_t best_batch = 32, batches[] = {32, 256}, n = set->packets_count;
	int32_t *answers = malloc(n * sizeof(*answers));
	double fastest = 1e9;

	for (size_t a = 0; a < sizeof(algorithms) / sizeof(*algorithms); a++) {
		if (rte_acl_set_ctx_classify(acl->context, algorithms[a]))
			continue;
		for (int b = 0; b < 2; b++) {
			acl->batch = batches[b];
			for (int round = 0; round < 4; round++) {
				double began = seconds(), took;

				acl_batch(acl, 0, n, answers);
				took = seconds() - began;
				if (round && took < fastest) {
					fastest = took;
					best = algorithms[a];
					best_batch = batches[b];
				}
			}
		}
	}
	rte_acl_set_ctx_classify(acl->context, best);
	acl->batch = best_batch;
	free(answers);
}

static size_t used(void)
{
	struct rte_malloc_socket_stats stats;

	return rte_malloc_get_socket_stats(0, &stats) ? 0 : stats.heap_allocsz_bytes;
}

static void *acl_build(const struct bench_set *set, size_t *bytes)
{
	struct rte_acl_param param = {.name = "bench", .socket_id = SOCKET_ID_ANY, .max_rule_num = set->rules_count};
	uint32_t words = set->v6 ? 4 : 1;
	struct rte_acl_config config;
	struct acl *acl;
	size_t before;
	int rc = 0;

	if (!start())
		return NULL;
	define_all(words);
	before = used();
	param.rule_size = RTE_ACL_RULE_SZ(fields);
	acl = calloc(1, sizeof(*acl));
	acl->context = rte_acl_create(&param);
	memset(&config, 0, sizeof(config));
	config.num_categories = 1;
	config.num_fields = fields;
	memcpy(config.defs, defs, fields * sizeof(*defs));
	for (uint32_t i = 0; i < set->rules_count && acl->context && !rc; i++)
		rc = add_rule(acl->context, &set->rules[i], i, words);
	if (!acl->context || rc || rte_acl_build(acl->context, &config)) {
		fprintf(stderr, "bench-classifier: rte_acl cannot build these rules\n");
		rte_acl_free(acl->context);
		free(acl);
		return NULL;
	}
	*bytes = used() - before;
	make_headers(acl, set, words);
	return acl;
}


static void acl_free(void *self)
{
	struct acl *acl = self;

	rte_acl_free(acl->context);
	free(acl->headers);
	free(acl->pointers);
	free(acl);
}


const struct contender bench_rte_acl = {"rte_acl", 1, 0, acl_build, acl_single, acl_batch, choose, acl_free};
#else
static void *acl_build(const struct bench_set *set, size_t *bytes)
{
	(void)set, (void)bytes;
	return NULL;
}

const struct contender bench_rte_acl = {"rte_acl", 1, 0, acl_build, NULL, NULL, NULL, NULL};
#endif
