/*
 * rule.h - one rule of a policy, checked field by field as it is put together.
 *
 * Fields are set from text in the notation of DESIGN 3.2, so that a policy, the store and a command
 * line have one parser and one set of mistakes. A list is written with commas. The text is kept: it
 * is what `rules` prints and what the store keeps.
 */
#ifndef BH_FILTER_RULE_H
#define BH_FILTER_RULE_H

#include "packet.h"

#define BH_RULE_NAME_MAX 255
#define BH_RULES_MAX 65536      /* of one endpoint */
#define BH_LIST_MAX 4096        /* elements of one field */
#define BH_PRIORITY_DEFAULT 1000

/* Words that stand for addresses of a network; `remote` only. */
enum bh_word { BH_WORD_LOCAL_SUBNET, BH_WORD_GATEWAY, BH_WORD_DNS, BH_WORD_DHCP, BH_WORDS };

#define BH_WORD_MAX 16 /* ranges that one stands for */

/* What the words mean in one network. Owned by the caller. */
struct bh_words {
	size_t count[BH_WORDS];
	struct bh_range ranges[BH_WORDS][BH_WORD_MAX];
};

struct bh_address_set {
	char *text;                /* as given; NULL = any */
	size_t include_count;
	struct bh_range *include;  /* empty with no words = any, less the excluded */
	size_t exclude_count;
	struct bh_range *exclude;
	uint8_t include_words;     /* bit per enum bh_word */
	uint8_t exclude_words;
};

struct bh_number_range {
	uint16_t first;
	uint16_t last;
};

struct bh_number_set {
	char *text;
	size_t count; /* 0 = any */
	struct bh_number_range *ranges;
};

struct bh_rule {
	uint32_t id;       /* unique where it is used; 0 = none yet */
	uint8_t action;    /* enum bh_action */
	uint8_t direction; /* enum bh_direction */
	bool audit;
	bool log;
	int protocol; /* 0-255; -1 = any */
	uint16_t priority;
	struct bh_address_set local, remote;
	struct bh_number_set local_port, remote_port;
	struct bh_number_set icmp; /* type << 8 | code */
	char *name;   /* NULL = none */
	char *origin; /* FILE:LINE */
};

void bh_rule_init(struct bh_rule *rule, enum bh_action action, enum bh_direction direction);
void bh_rule_clear(struct bh_rule *rule);

/*
 * Sets one field from text. The last set of a field counts. -EINVAL with a sentence that says what
 * would be right: an unknown field, a value that does not parse, a backwards range.
 */
int bh_rule_set(struct bh_rule *rule, const char *field, const char *text, struct bh_error *err);

/* What only shows once all fields are there: ports without such a protocol, audit on an allow, … */
int bh_rule_check(const struct bh_rule *rule, struct bh_error *err);

/* The field as text, or NULL where it has its default. The buffer holds numbers. */
const char *bh_rule_get(const struct bh_rule *rule, const char *field, char buffer[16]);

/* The word as it is written: `LocalSubnet`, … */
const char *bh_rule_word(enum bh_word word);

/* Names of the fields, NULL at the end, in the order they are printed. */
extern const char *const bh_rule_fields[];

/* Whether the rule speaks of this packet: the plain meaning, word for word of DESIGN 3.2. */
bool bh_rule_matches(const struct bh_rule *rule, const struct bh_words *words,
                     const struct bh_key *key);

/* Whether `a` takes precedence over `b`: lower priority, then block before allow. */
bool bh_rule_precedes(const struct bh_rule *a, const struct bh_rule *b);

/* `tcp`, `icmp6`, `47`: number 0-255, or -EINVAL. And back, into `text` of 8 bytes. */
int bh_protocol_parse(const char *text, struct bh_error *err);
const char *bh_protocol_format(int protocol, char text[8]);

#endif
