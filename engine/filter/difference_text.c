/*
 * difference_text.c - fields of a class in the notation of rules. See difference.h.
 */
#include <string.h>

#include "../base/buffer.h"
#include "difference.h"

#define V4 ((bh_value)BH_V4_MAPPED)
#define V4_END ((bh_value)BH_V4_MAPPED + ((bh_value)1 << 32))

static void put_comma(struct bh_buffer *text)
{
	if (text->size)
		bh_buffer_append(text, ",", 1);
}

static void put_protocol(struct bh_buffer *text, const char *sign, bh_value protocol)
{
	char name[8];
	int number = protocol == BH_REGION_ICMP_FOREIGN    ? BH_PROTO_ICMP
	             : protocol == BH_REGION_ICMP6_FOREIGN ? BH_PROTO_ICMP6
	                                                    : (int)protocol;

	put_comma(text);
	if (protocol > 255)
		bh_buffer_printf(text, "%s%d over %s", sign, number, number == BH_PROTO_ICMP ? "IPv6" : "IPv4");
	else
		bh_buffer_printf(text, "%s%s", sign, bh_protocol_format(number, name));
}

/* The protocols, or those left out where that is shorter. */
static void put_protocols(struct bh_buffer *text, const struct bh_set *set)
{
	size_t total = 0;

	for (size_t i = 0; i < set->count; i++)
		total += (size_t)(set->spans[i].last - set->spans[i].first) + 1;
	for (bh_value p = 0; p <= bh_region_max(BH_REGION_PROTOCOL); p++)
		if (bh_set_contains(set, p) == (total <= 128))
			put_protocol(text, total <= 128 ? "" : "!", p);
}

static void put_ports(struct bh_buffer *text, const struct bh_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		unsigned first = (unsigned)set->spans[i].first, last = (unsigned)set->spans[i].last;

		put_comma(text);
		bh_buffer_printf(text, first == last ? "%u" : "%u-%u", first, last);
	}
}

/* One stretch of `type << 8 | code`: whole types, or codes of one type. */
static void put_types(struct bh_buffer *text, unsigned first, unsigned last)
{
	unsigned type = first >> 8, end = last >> 8;

	put_comma(text);
	if ((first & 255) == 0 && (last & 255) == 255)
		bh_buffer_printf(text, type == end ? "%u" : "%u-%u", type, end);
	else
		bh_buffer_printf(text, first == last ? "%u:%u" : "%u:%u-%u", type, first & 255, last & 255);
}

static void put_icmp(struct bh_buffer *text, const struct bh_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		unsigned first = (unsigned)set->spans[i].first, last = (unsigned)set->spans[i].last;

		if (first & 255 && first >> 8 != last >> 8) { /* the rest of the first type */
			put_types(text, first, first | 255);
			first = (first | 255) + 1;
		}
		if ((last & 255) != 255 && first >> 8 != last >> 8) { /* whole types before the last one's part */
			put_types(text, first, (last & 0xff00) - 1);
			first = last & 0xff00;
		}
		put_types(text, first, last);
	}
}

/* Of neighbour discovery only code 0 is well-formed, and types 135 and 136 ask no rule. */
static void put_icmp6(struct bh_buffer *text, const struct bh_set *types)
{
	struct bh_set set = {0};
	bool failed = bh_set_add_set(&set, types);

	for (bh_value type = 133; !failed && type <= 137; type++) {
		bool asked = type != 135 && type != 136;

		if (bh_set_contains(types, (asked ? type : 134) << 8) &&
		    (asked || (bh_set_contains(types, 133 << 8) && bh_set_contains(types, 137 << 8))))
			failed = bh_set_add(&set, type << 8, type << 8 | 255);
	}
	bh_set_join(&set);
	put_icmp(text, failed ? types : &set);
	bh_set_clear(&set);
}

/* The set that a word stands for. */
static int word_set(struct bh_set *set, const struct bh_words *words, int word)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < words->count[word]; i++)
		rc = bh_set_add_range(set, &words->ranges[word][i]);
	bh_set_join(set);
	return rc;
}

/* The word, with `!` before it where it is what the set leaves out; `outside` is not looked at. */
static bool put_word(struct bh_buffer *text, const struct bh_set *set, const struct bh_set *outside,
                     const struct bh_words *words)
{
	bool found = false;

	for (int word = 0; words && !found && word < BH_WORDS; word++) {
		struct bh_set meant = {0}, rest = {0};

		if (!word_set(&meant, words, word) && meant.count && !bh_set_add(&rest, 0, ~(bh_value)0) &&
		    !bh_set_subtract(&rest, &meant) && !bh_set_subtract(&meant, outside) &&
		    !bh_set_subtract(&rest, outside)) {
			found = meant.count && (bh_set_equal(set, &meant) || bh_set_equal(set, &rest));
			if (found)
				bh_buffer_printf(text, "%s%s", bh_set_equal(set, &meant) ? "" : "!", bh_rule_word(word));
		}
		bh_set_clear(&meant);
		bh_set_clear(&rest);
	}
	return found;
}

static void put_range(struct bh_buffer *text, const char *sign, bh_value first, bh_value last)
{
	struct bh_range range = {bh_region_address(first), bh_region_address(last)};
	char range_text[BH_ADDRESS_TEXT];

	put_comma(text);
	bh_buffer_printf(text, "%s%s", sign, bh_range_format(&range, range_text));
}

static void put_ranges(struct bh_buffer *text, const char *sign, const struct bh_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		bh_value first = set->spans[i].first, last = set->spans[i].last;

		if (last == V4 - 1 && i + 1 < set->count && set->spans[i + 1].first == V4_END) {
			put_range(text, sign, first, set->spans[++i].last); /* ::/0 leaves out IPv4 by itself */
			continue;
		}
		if (first < V4 && last >= V4) {
			put_range(text, sign, first, last >= V4_END ? last : V4 - 1);
			first = V4;
			put_range(text, sign, first, last < V4_END ? last : V4_END - 1);
		} else if (first < V4_END && last >= V4_END) {
			put_range(text, sign, first, V4_END - 1);
			put_range(text, sign, V4_END, last);
		} else {
			put_range(text, sign, first, last);
		}
	}
}

/* Addresses that packets of these protocols cannot have: those of the other family than theirs. */
static int outside_of(struct bh_set *outside, const struct bh_set *protocols)
{
	bh_value first = protocols->count ? protocols->spans[0].first : 0;
	int rc;

	if (protocols->count != 1 || protocols->spans[0].last != first)
		return 0;
	if (first == BH_PROTO_ICMP6 || first == BH_REGION_ICMP_FOREIGN)
		return bh_set_add(outside, V4, V4_END - 1);
	if (first != BH_PROTO_ICMP && first != BH_REGION_ICMP6_FOREIGN)
		return 0;
	rc = bh_set_add(outside, 0, V4 - 1);
	return rc ? rc : bh_set_add(outside, V4_END, ~(bh_value)0);
}

static void put_addresses(struct bh_buffer *text, const struct bh_set *addresses,
                          const struct bh_set *protocols, const struct bh_words *words)
{
	struct bh_buffer plain = {0}, without = {0};
	struct bh_set set = {0}, rest = {0}, outside = {0};

	if (!outside_of(&outside, protocols) && !bh_set_add_set(&set, addresses) &&
	    !bh_set_subtract(&set, &outside) && !bh_set_add(&rest, 0, ~(bh_value)0) &&
	    !bh_set_subtract(&rest, &set) && !bh_set_subtract(&rest, &outside) &&
	    !put_word(text, &set, &outside, words)) {
		put_ranges(&plain, "", &set);
		put_ranges(&without, "!", &rest);
		if (without.size && without.size < plain.size)
			bh_buffer_append(text, without.data, without.size);
		else if (plain.size)
			bh_buffer_append(text, plain.data, plain.size);
	}
	bh_buffer_clear(&plain);
	bh_buffer_clear(&without);
	bh_set_clear(&set);
	bh_set_clear(&rest);
	bh_set_clear(&outside);
}

char *bh_difference_field(const struct bh_difference *difference, const struct bh_difference_class *class,
                     const char *field)
{
	static const char *const names[BH_REGION_FIELDS] = {"direction", "protocol", "local_port",
	                                                    "remote_port", "remote", "local"};
	const struct bh_set *protocols = bh_diagram_set(difference->diagram, BH_REGION_PROTOCOL,
	                                                class->box.sets[BH_REGION_PROTOCOL]);
	bool icmp = protocols->count && (protocols->spans[0].first == BH_PROTO_ICMP ||
	                                 protocols->spans[0].first == BH_PROTO_ICMP6);
	struct bh_buffer text = {0};
	const struct bh_set *set;
	int f = 0;

	while (f < BH_REGION_FIELDS && strcmp(field, icmp && f == BH_REGION_LOCAL_PORT ? "icmp" : names[f]))
		f++;
	if (f == BH_REGION_FIELDS || !class->box.sets[f])
		return NULL;
	set = bh_diagram_set(difference->diagram, f, class->box.sets[f]);
	if (f == BH_REGION_DIRECTION)
		bh_buffer_printf(&text, "%s", class->example.direction == BH_IN ? "inbound" : "outbound");
	else if (f == BH_REGION_PROTOCOL)
		put_protocols(&text, set);
	else if (f == BH_REGION_LOCAL_PORT && icmp && protocols->spans[0].first == BH_PROTO_ICMP6)
		put_icmp6(&text, set);
	else if (f == BH_REGION_LOCAL_PORT && icmp)
		put_icmp(&text, set);
	else if (f == BH_REGION_LOCAL_PORT || f == BH_REGION_REMOTE_PORT)
		put_ports(&text, set);
	else
		put_addresses(&text, set, protocols, f == BH_REGION_REMOTE ? difference->words : NULL);
	return bh_buffer_take(&text);
}
