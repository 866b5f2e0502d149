/*
 * address.c - addresses, prefixes and ranges to and from text. See address.h.
 */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct bh_address bh_address_v4(uint32_t host_order)
{
	return (struct bh_address){.hi = 0, .lo = BH_V4_MAPPED | host_order};
}

struct bh_address bh_address_from_bytes(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	struct bh_address address = {0, 0};

	if (size == 4)
		return bh_address_v4((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
		                     (uint32_t)p[2] << 8 | p[3]);
	for (int i = 0; i < 8; i++) {
		address.hi = address.hi << 8 | p[i];
		address.lo = address.lo << 8 | p[i + 8];
	}
	return address;
}

size_t bh_address_to_bytes(const struct bh_address *address, void *bytes)
{
	uint8_t *p = bytes;

	if (bh_address_is_v4(address)) {
		for (int i = 0; i < 4; i++)
			p[i] = (uint8_t)(address->lo >> (24 - 8 * i));
		return 4;
	}
	for (int i = 0; i < 8; i++) {
		p[i] = (uint8_t)(address->hi >> (56 - 8 * i));
		p[i + 8] = (uint8_t)(address->lo >> (56 - 8 * i));
	}
	return 16;
}

struct bh_address bh_address_link_local(const uint8_t mac[6])
{
	uint8_t bytes[16] = {0xfe, 0x80};

	bytes[8] = mac[0] ^ 2;
	bytes[9] = mac[1];
	bytes[10] = mac[2];
	bytes[11] = 0xff;
	bytes[12] = 0xfe;
	bytes[13] = mac[3];
	bytes[14] = mac[4];
	bytes[15] = mac[5];
	return bh_address_from_bytes(bytes, 16);
}

void bh_address_mac(const struct bh_address *address, uint8_t mac[6])
{
	uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */
	uint8_t bytes[16];

	for (size_t i = 0, size = bh_address_to_bytes(address, bytes); i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	mac[0] = 0x02; /* locally administered, unicast */
	memcpy(mac + 1, &hash, 5);
}

int bh_address_parse(struct bh_address *address, const char *text, struct bh_error *err)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1) {
		*address = bh_address_from_bytes(bytes, 4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, bytes) == 1) {
		struct bh_address parsed = bh_address_from_bytes(bytes, 16);

		if (bh_address_is_v4(&parsed))
			return bh_error_set(err, -EINVAL,
			                    "'%s' is an IPv4-mapped address; write the IPv4 address itself", text);
		*address = parsed;
		return 0;
	}
	return bh_error_set(err, -EINVAL,
	                    "'%.80s' is not an address (an IPv4 address like 10.0.0.1 or an IPv6 one like fd00::1)",
	                    text);
}

char *bh_address_format(const struct bh_address *address, char *text)
{
	uint8_t bytes[16];
	size_t size = bh_address_to_bytes(address, bytes);

	inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, BH_ADDRESS_TEXT);
	return text;
}

/* The mask of a prefix length counted in mapped space (0-128). */
static struct bh_address address_mask(unsigned bits)
{
	struct bh_address mask = {0, 0};

	if (bits >= 64) {
		mask.hi = ~0ULL;
		mask.lo = bits == 64 ? 0 : ~0ULL << (128 - bits);
	} else if (bits) {
		mask.hi = ~0ULL << (64 - bits);
	}
	return mask;
}

static unsigned prefix_bits(const struct bh_prefix *prefix)
{
	return prefix->length + (bh_address_is_v4(&prefix->address) ? 96u : 0u);
}

struct bh_range bh_prefix_range(const struct bh_prefix *prefix)
{
	struct bh_address mask = address_mask(prefix_bits(prefix));
	struct bh_range range = {
		.first = {prefix->address.hi & mask.hi, prefix->address.lo & mask.lo},
		.last = {prefix->address.hi | ~mask.hi, prefix->address.lo | ~mask.lo},
	};

	return range;
}

struct bh_prefix bh_prefix_network(const struct bh_prefix *prefix)
{
	return (struct bh_prefix){bh_prefix_range(prefix).first, prefix->length};
}

bool bh_prefix_contains(const struct bh_prefix *prefix, const struct bh_address *address)
{
	struct bh_range range = bh_prefix_range(prefix);

	return bh_range_contains(&range, address);
}

bool bh_prefix_overlaps(const struct bh_prefix *a, const struct bh_prefix *b)
{
	struct bh_range x = bh_prefix_range(a), y = bh_prefix_range(b);

	return !bh_address_below(&x.last, &y.first) && !bh_address_below(&y.last, &x.first);
}

int bh_prefix_parse(struct bh_prefix *prefix, const char *text, bool host_bits,
                    struct bh_error *err)
{
	const char *slash = strchr(text, '/');
	char part[BH_ADDRESS_TEXT], network[BH_ADDRESS_TEXT];
	struct bh_prefix parsed;
	struct bh_range range;
	unsigned length = 0, limit;
	const char *p;
	int rc;

	if (!slash) {
		rc = bh_address_parse(&parsed.address, text, err);
		if (rc)
			return rc;
		parsed.length = bh_address_is_v4(&parsed.address) ? 32 : 128;
		*prefix = parsed;
		return 0;
	}
	if ((size_t)(slash - text) >= sizeof(part))
		return bh_error_set(err, -EINVAL, "'%.80s' is not a prefix like 10.0.0.0/8", text);
	memcpy(part, text, (size_t)(slash - text));
	part[slash - text] = '\0';
	rc = bh_address_parse(&parsed.address, part, err);
	if (rc)
		return rc;
	limit = bh_address_is_v4(&parsed.address) ? 32 : 128;
	for (p = slash + 1; *p >= '0' && *p <= '9' && length <= limit; p++)
		length = length * 10 + (unsigned)(*p - '0');
	if (p == slash + 1 || *p || length > limit)
		return bh_error_set(err, -EINVAL, "'%.80s': the prefix length must be 0 to %u", text, limit);
	if (slash[1] == '0' && slash[2])
		return bh_error_set(err, -EINVAL, "'%.80s': the prefix length is written without leading zeros, /%u",
		                    text, length);
	parsed.length = (uint8_t)length;
	range = bh_prefix_range(&parsed);
	if (!host_bits && !bh_address_equal(&range.first, &parsed.address))
		return bh_error_set(err, -EINVAL, "'%s' has host bits set; the prefix is %s/%u", text,
		                    bh_address_format(&range.first, network), length);
	*prefix = parsed;
	return 0;
}

char *bh_prefix_format(const struct bh_prefix *prefix, char *text)
{
	bh_address_format(&prefix->address, text);
	snprintf(text + strlen(text), BH_ADDRESS_TEXT - strlen(text), "/%u", prefix->length);
	return text;
}

int bh_range_parse(struct bh_range *range, const char *text, struct bh_error *err)
{
	const char *dash = strchr(text, '-');
	char part[BH_ADDRESS_TEXT];
	struct bh_range parsed;
	struct bh_prefix prefix;
	int rc;

	if (!dash) {
		rc = bh_prefix_parse(&prefix, text, false, err);
		if (!rc)
			*range = bh_prefix_range(&prefix);
		return rc;
	}
	if ((size_t)(dash - text) >= sizeof(part))
		return bh_error_set(err, -EINVAL, "'%.80s' is not a range like 10.0.0.1-10.0.0.9", text);
	memcpy(part, text, (size_t)(dash - text));
	part[dash - text] = '\0';
	rc = bh_address_parse(&parsed.first, part, err);
	if (!rc)
		rc = bh_address_parse(&parsed.last, dash + 1, err);
	if (rc)
		return rc;
	if (bh_address_is_v4(&parsed.first) != bh_address_is_v4(&parsed.last))
		return bh_error_set(err, -EINVAL, "range '%s' mixes families; both ends must be IPv4 or both IPv6",
		                    text);
	if (bh_address_below(&parsed.last, &parsed.first))
		return bh_error_set(err, -EINVAL, "range '%s' is backwards; the lower address comes first", text);
	*range = parsed;
	return 0;
}

char *bh_range_format(const struct bh_range *range, char *text)
{
	bool v4 = bh_address_is_v4(&range->first);
	char last[BH_ADDRESS_TEXT];

	for (unsigned length = v4 ? 32 : 128;; length--) {
		struct bh_prefix prefix = {range->first, (uint8_t)length};
		struct bh_range whole = bh_prefix_range(&prefix);

		if (bh_address_equal(&whole.first, &range->first) &&
		    bh_address_equal(&whole.last, &range->last))
			return length == (v4 ? 32 : 128) ? bh_address_format(&range->first, text)
			                                 : bh_prefix_format(&prefix, text);
		if (!length)
			break;
	}
	bh_address_format(&range->first, text);
	bh_address_format(&range->last, last);
	snprintf(text + strlen(text), BH_ADDRESS_TEXT - strlen(text), "-%s", last);
	return text;
}

struct bh_address bh_address_next(struct bh_address address)
{
	if (address.hi == ~0ULL && address.lo == ~0ULL)
		return address;
	address.lo++;
	if (!address.lo)
		address.hi++;
	return address;
}

struct bh_address bh_address_previous(struct bh_address address)
{
	if (!address.hi && !address.lo)
		return address;
	if (!address.lo)
		address.hi--;
	address.lo--;
	return address;
}

int bh_mac_parse(uint8_t mac[6], const char *text, struct bh_error *err)
{
	unsigned byte[6];
	int end = -1;

	if (strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4],
	           &byte[5], &end) != 6 || end != 17)
		return bh_error_set(err, -EINVAL, "'%.40s' is not a MAC address like 02:11:22:aa:bb:cc", text);
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)byte[i];
	return 0;
}

char *bh_mac_format(const uint8_t mac[6], char *text)
{
	snprintf(text, BH_ADDRESS_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
	         mac[4], mac[5]);
	return text;
}
