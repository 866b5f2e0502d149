/*
 * parse.c - everything that parses, fed with damaged input: no crash, no verdict that trusts it.
 *
 *   parse ROUNDS [SEED]    so many damaged frames and texts; prints the counts
 *
 * Frames start right and are damaged by flipped bits, cut lengths and shuffled bytes; texts are
 * damaged rules, packets and prefixes. Built with sanitizers it also finds what does not crash. With
 * clang, -DBH_LIBFUZZER -fsanitize=fuzzer makes it a target of libFuzzer instead.
 */
#include <stdlib.h>

#include "../../engine/filter/evaluate.h"
#include "../support/random.h"

static struct bh_conf conf;

static void prepare(void)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};

	bh_conf_init(&conf);
	conf.endpoint = conf.compartment = 1;
	memcpy(conf.mac, mac, 6);
	bh_address_parse(&conf.addresses[0], "10.0.1.1", NULL);
	conf.broadcasts[0] = conf.addresses[0];
	conf.addresses_count = 1;
}

/* A frame, both ways; in a block of its own so that a read beyond it is seen. */
static void feed_frame(const uint8_t *bytes, uint32_t size)
{
	static struct bh_flow_table *flows;
	uint8_t *copy = malloc(size ? size : 1);
	struct bh_packet packet;
	struct bh_verdict verdict;
	char text[BH_NOTATION_TEXT];

	if (!copy || (!flows && (bh_flow_table_new(&flows, 1024, NULL) || bh_flow_table_add_share(flows, 1, NULL))))
		abort();
	memcpy(copy, bytes, size);
	for (int direction = BH_IN; direction <= BH_OUT; direction++) {
		struct bh_env env = {.frame = copy, .size = size, .flows = flows, .now = BH_NS};

		env.gso = size & 1;
		bh_evaluate(&env, &conf, direction, &packet, &verdict);
		bh_notation_of_packet(&packet, text);
		if (packet.form == BH_FORM_MALFORMED && verdict.action != BH_BLOCK)
			abort();
	}
	free(copy);
}

static void feed_text(const char *text)
{
	static const char *const fields[] = {"protocol", "local", "remote", "local_port", "remote_port", "icmp",
	                                     "priority", "name", "log", "audit", "porto"};
	struct bh_notation packet;
	struct bh_prefix prefix;
	struct bh_range range;
	struct bh_error err;
	struct bh_rule rule;
	uint8_t mac[6];

	bh_notation_parse(&packet, text, &err);
	bh_prefix_parse(&prefix, text, true, &err);
	bh_range_parse(&range, text, &err);
	bh_mac_parse(mac, text, &err);
	bh_rule_init(&rule, BH_BLOCK, BH_IN);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		bh_rule_set(&rule, fields[i], text, &err);
	bh_rule_check(&rule, &err);
	bh_rule_clear(&rule);
}

#ifdef BH_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	prepare();
	feed_frame(data, (uint32_t)size);
	memcpy(text, data, size);
	text[size] = '\0';
	feed_text(text);
	free(text);
	return 0;
}

#else

/* A right frame, damaged. */
static void damaged_frame(void)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	uint8_t frame[BH_FRAME_MAX + 64];
	struct bh_notation packet;
	uint32_t size, damage = random_below(6);

	random_notation(&packet);
	if (random_below(2))
		packet.icmp_type = (uint8_t)(133 + random_below(5));
	memset(frame, (int)random_below(256), sizeof(frame));
	size = bh_notation_frame(&packet, mac, mac, frame) + random_below(64);
	for (uint32_t i = 0; i < damage; i++)
		frame[12 + random_below(size - 12)] = (uint8_t)(random_below(3) ? random_below(256) : 0xff);
	if (random_below(2))
		size = random_below(size + 1);
	feed_frame(frame, size);
}

/* A right text, damaged. */
static void damaged_text(void)
{
	static const char *const texts[] = {
		"in tcp[SA] 10.0.0.9:51000 -> 172.16.0.2:80", "out icmp6[134:0] fe80::1 -> fd00::2",
		"10.0.0.0/8,!10.1.0.0/16,LocalSubnet", "fd00::/8", "10.0.0.1-10.0.0.9", "8000-8099,1",
		"02:11:22:aa:bb:cc", "out udp [fd00::2]:5353 -> [ff02::fb]:5353", "3:4,8", "tcp",
	};
	char text[256];
	size_t length;

	strcpy(text, texts[random_below(10)]);
	length = strlen(text);
	for (uint32_t i = random_below(5); i; i--)
		text[random_below((uint32_t)length)] = (char)(1 + random_below(255));
	if (!random_below(3))
		memmove(text + length, text, length), text[2 * length] = '\0';
	feed_text(text);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 300000;

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 4711;
	prepare();
	for (long i = 0; i < rounds; i++) {
		damaged_frame();
		damaged_text();
	}
	printf("ok %ld damaged frames and texts\n1 passed, 0 failed, 0 skipped\n", rounds);
	return 0;
}

#endif
