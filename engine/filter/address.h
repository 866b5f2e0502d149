/*
 * address.h - IPv4 and IPv6 addresses, prefixes and ranges as one ordered number.
 *
 * An address is 128 bits in host byte order; IPv4 is mapped to ::ffff:0:0/96 (RFC 4291, 2.5.5.2), so
 * that one comparison and one table serve both families. The struct and the inline functions compile
 * for eBPF too; the rest is for user space.
 */
#ifndef BH_FILTER_ADDRESS_H
#define BH_FILTER_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

struct bh_address {
	uint64_t hi; /* bits 127..64 */
	uint64_t lo; /* bits 63..0 */
};

#define BH_V4_MAPPED 0xffff00000000ULL

static inline bool bh_address_equal(const struct bh_address *a, const struct bh_address *b)
{
	return a->hi == b->hi && a->lo == b->lo;
}

static inline bool bh_address_below(const struct bh_address *a, const struct bh_address *b)
{
	return a->hi < b->hi || (a->hi == b->hi && a->lo < b->lo);
}

static inline bool bh_address_is_v4(const struct bh_address *a)
{
	return a->hi == 0 && (a->lo >> 32) == 0xffff;
}

/* 0.0.0.0 or :: */
static inline bool bh_address_is_unspecified(const struct bh_address *a)
{
	return a->hi == 0 && (a->lo == 0 || a->lo == BH_V4_MAPPED);
}

/* 224.0.0.0/4 or ff00::/8 */
static inline bool bh_address_is_multicast(const struct bh_address *a)
{
	if (bh_address_is_v4(a))
		return ((a->lo >> 28) & 0xf) == 0xe;
	return (a->hi >> 56) == 0xff;
}

/* fe80::/10 */
static inline bool bh_address_is_link_local6(const struct bh_address *a)
{
	return (a->hi >> 54) == 0x3fa;
}

#ifndef __bpf__

#include <stddef.h>

#include "../base/error.h"

/* Room for any address, prefix or range in text, with its NUL. */
#define BH_ADDRESS_TEXT 96

struct bh_prefix {
	struct bh_address address; /* as given: host bits may be set where a caller allows them */
	uint8_t length;            /* in the address's own family: 0-32 or 0-128 */
};

struct bh_range {
	struct bh_address first;
	struct bh_address last; /* inclusive */
};

struct bh_address bh_address_v4(uint32_t host_order);

/* From or to 4 or 16 bytes in network order. */
struct bh_address bh_address_from_bytes(const void *bytes, size_t size);
size_t bh_address_to_bytes(const struct bh_address *address, void *bytes); /* 4 or 16 */

/* The fe80 address a MAC makes (modified EUI-64, RFC 4291 appendix A). */
struct bh_address bh_address_link_local(const uint8_t mac[6]);

/* A MAC address of our own for who has an address, always the same: who comes again under the address is where
 * those who knew the former have it in their neighbour tables, which they would believe for up to a minute. */
void bh_address_mac(const struct bh_address *address, uint8_t mac[6]);

/* `10.0.0.1`, `fd00::1`. No zone, no brackets, no leading zeros as octal. */
int bh_address_parse(struct bh_address *address, const char *text, struct bh_error *err);
/* Returns `text`, which has BH_ADDRESS_TEXT bytes. */
char *bh_address_format(const struct bh_address *address, char *text);

/*
 * `10.0.0.0/8`. With `host_bits` the address part may be any address of the prefix; without it
 * set host bits are refused. A text without `/` is a whole address.
 */
int bh_prefix_parse(struct bh_prefix *prefix, const char *text, bool host_bits,
                    struct bh_error *err);
char *bh_prefix_format(const struct bh_prefix *prefix, char *text);
struct bh_range bh_prefix_range(const struct bh_prefix *prefix);
bool bh_prefix_contains(const struct bh_prefix *prefix, const struct bh_address *address);
bool bh_prefix_overlaps(const struct bh_prefix *a, const struct bh_prefix *b);
/* The prefix with its host bits cleared. */
struct bh_prefix bh_prefix_network(const struct bh_prefix *prefix);

/* An address, a CIDR prefix or `first-last` of one family, not backwards. */
int bh_range_parse(struct bh_range *range, const char *text, struct bh_error *err);
/* In the shortest of the three notations. */
char *bh_range_format(const struct bh_range *range, char *text);
static inline bool bh_range_contains(const struct bh_range *range, const struct bh_address *a)
{
	return !bh_address_below(a, &range->first) && !bh_address_below(&range->last, a);
}

/* The next and the previous address; the last one and the first one stay themselves. */
struct bh_address bh_address_next(struct bh_address address);
struct bh_address bh_address_previous(struct bh_address address);

/* `02:11:22:aa:bb:cc`. */
int bh_mac_parse(uint8_t mac[6], const char *text, struct bh_error *err);
char *bh_mac_format(const uint8_t mac[6], char *text);

#endif
#endif
