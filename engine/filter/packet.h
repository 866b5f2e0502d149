/*
 * packet.h - from bytes to the few fields that decide; the first step of every verdict.
 *
 * Compiles natively (over native.h) and for eBPF, whose program provides, before including this:
 *
 *   BH_CTX                               the packet's type
 *   bh_load(ctx, offset, to, size)       copies `size` bytes (a constant); non-zero if it ends earlier
 *   bh_length(ctx)                       bytes of the frame, Ethernet header included
 *   bh_is_gso(ctx)                       one header for many segments: IP length is not wire length
 *   bh_is_tagged(ctx)                    a VLAN tag in the packet's metadata
 *   bh_loop(n, f, arg)                   f(0, arg) … f(n - 1, arg) until one returns non-zero
 *
 * bh_load copies, so a packet may be paged. Nothing here trusts a length: what is not inside both
 * the frame and the IP packet is malformed. Parsed numbers are in host byte order.
 */
#ifndef BH_FILTER_PACKET_H
#define BH_FILTER_PACKET_H

#include "conf.h"

#ifndef __bpf__
#include "native.h"
#endif

/*
 * BH_GLOBAL is a function that the verifier checks once, by itself, whatever its callers pass; so
 * it starts by requiring its pointers. BH_NOINLINE is one it checks again for every caller.
 */
#ifdef __bpf__
#define BH_GLOBAL __attribute__((noinline))
#define BH_NOINLINE static __attribute__((noinline))
#define BH_INLINE static inline __attribute__((always_inline))
#else
#define BH_GLOBAL static inline
#define BH_NOINLINE static inline
#define BH_INLINE static inline
#endif

#define BH_REQUIRE(condition, otherwise) \
	if (!(condition))                    \
		return otherwise

/* The same, and uses ctx: an unused parameter reaches a callee as garbage, which is refused. */
#ifdef __bpf__
#define BH_ENTER(ctx, condition, otherwise) \
	asm volatile("" : : "r"(ctx));          \
	BH_REQUIRE(condition, otherwise)
#else
#define BH_ENTER(ctx, condition, otherwise) BH_REQUIRE(condition, otherwise)
#endif

enum {
	BH_PROTO_ICMP = 1,
	BH_PROTO_IGMP = 2,
	BH_PROTO_TCP = 6,
	BH_PROTO_UDP = 17,
	BH_PROTO_DCCP = 33,
	BH_PROTO_ICMP6 = 58,
	BH_PROTO_SCTP = 132,
	BH_PROTO_UDPLITE = 136,
};

enum { BH_TCP_FIN = 1, BH_TCP_SYN = 2, BH_TCP_RST = 4, BH_TCP_PSH = 8, BH_TCP_ACK = 16 };

enum { BH_ETH_IP = 0x0800, BH_ETH_ARP = 0x0806, BH_ETH_IP6 = 0x86dd };

enum bh_form { BH_FORM_MALFORMED, BH_FORM_IP, BH_FORM_ARP, BH_FORM_OTHER };

enum bh_fragment { BH_WHOLE, BH_FIRST, BH_LATER };

#define BH_EXTENSIONS_MAX 8 /* IPv6 extension headers walked before a packet is malformed */
#define BH_OPTIONS_MAX 8    /* options of a neighbour discovery message, likewise */

/*
 * What rules look at. `local` is the container's side whatever the direction. For ICMP and ICMPv6
 * `local_port` is type << 8 | code. Protocols without ports have 0.
 */
struct bh_key {
	struct bh_address local;
	struct bh_address remote;
	uint16_t local_port;
	uint16_t remote_port;
	uint8_t protocol;
	uint8_t direction; /* enum bh_direction */
	uint8_t v6;        /* 1 = IPv6, 0 = IPv4 */
	uint8_t reserved;
};

enum bh_flow_kind { BH_KIND_FLOW, BH_KIND_FRAGMENT };

struct bh_flow_key {
	uint32_t endpoint;
	uint8_t protocol;
	uint8_t kind; /* enum bh_flow_kind */
	uint8_t direction; /* fragments only */
	uint8_t v6;
	struct bh_address local;
	struct bh_address remote;
	uint16_t local_port;  /* ICMP: identifier of a query, else the code */
	uint16_t remote_port; /* ICMP: type of the query << 8 | direction of the opener */
	uint32_t fragment_id;
};

struct bh_packet {
	struct bh_key key;
	struct bh_key inner;      /* of an ICMP error: the packet it speaks of, seen from its sender's side */
	struct bh_address target; /* ND: target address */
	struct bh_flow_key flow;  /* the row it belongs to; filled by the verdict */
	struct bh_key opener;     /* of a flow that is asked about once more: its first packet; likewise */
	uint32_t fragment_id;
	uint16_t ethertype;
	uint16_t checksum_at; /* where in the frame a checksum is still to be written; 0 = nowhere */
	uint16_t id;       /* ICMP: identifier of a query */
	uint16_t inner_id;
	uint8_t form;      /* enum bh_form */
	uint8_t fragment;  /* enum bh_fragment */
	uint8_t tcp_flags;
	uint8_t ttl;       /* or hop limit */
	uint8_t has_inner; /* the error's inner header names a conversation */
	uint8_t arp_op;
	uint8_t lladdr_option; /* ND: a link-layer address option comes first */
	uint8_t source_mac[6];
	uint8_t target_mac[6];
	uint8_t lladdr[6]; /* ARP sender's, or of the ND option */
	uint8_t reserved;
};

static inline bool bh_is_extension(uint8_t next)
{
	/* Mobility, HIP and shim6 (135, 139, 140) are protocols of an end, which rules decide about. */
	return next == 0 || next == 43 || next == 44 || next == 51 || next == 60;
}

static inline bool bh_has_ports(uint8_t protocol)
{
	return protocol == BH_PROTO_TCP || protocol == BH_PROTO_UDP || protocol == BH_PROTO_SCTP ||
	       protocol == BH_PROTO_DCCP || protocol == BH_PROTO_UDPLITE;
}

/* ICMP of the packet's own family; the other family's number is just a protocol. */
static inline bool bh_is_icmp(const struct bh_key *key)
{
	return key->protocol == (key->v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP);
}

static inline uint8_t bh_icmp_type(const struct bh_key *key)
{
	return (uint8_t)(key->local_port >> 8);
}

static inline bool bh_icmp_is_error(const struct bh_key *key)
{
	uint8_t type = bh_icmp_type(key);

	if (key->v6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 4 || type == 11 || type == 12;
}

/* The query that a reply type answers, or 0. */
static inline uint8_t bh_icmp_query_of_reply(const struct bh_key *key)
{
	uint8_t type = bh_icmp_type(key);

	if (key->v6)
		return type == 129 ? 128 : type == 140 ? 139 : 0;
	return type == 0 ? 8 : type == 14 ? 13 : type == 16 ? 15 : type == 18 ? 17 : 0;
}

/* A type whose bytes 4 and 5 are an identifier that its reply repeats. */
static inline bool bh_icmp_is_query(const struct bh_key *key)
{
	uint8_t type = bh_icmp_type(key);

	if (key->v6)
		return type == 128 || type == 139;
	return type == 8 || type == 13 || type == 15 || type == 17;
}

/*
 * What a host tells a whole link of itself and nobody answers: memberships in groups (IGMP; MLD reports and
 * dones), and that it looks for a router. Coming in it starts no flow: on a link of a thousand hosts those would
 * be a million.
 */
static inline bool bh_is_announcement(const struct bh_key *key)
{
	uint8_t type = bh_icmp_type(key);

	if (!key->v6 || key->protocol != BH_PROTO_ICMP6)
		return key->protocol == BH_PROTO_IGMP;
	return type == 131 || type == 132 || type == 133 || type == 143;
}

static inline uint16_t bh_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t bh_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void bh_get_v4(struct bh_address *address, const uint8_t *p)
{
	address->hi = 0;
	address->lo = BH_V4_MAPPED | bh_get32(p);
}

static inline void bh_get_v6(struct bh_address *address, const uint8_t *p)
{
	address->hi = (uint64_t)bh_get32(p) << 32 | bh_get32(p + 4);
	address->lo = (uint64_t)bh_get32(p + 8) << 32 | bh_get32(p + 12);
}

/* Puts source and destination where the direction says. */
static inline void bh_orient(struct bh_key *key, uint8_t direction, const struct bh_address *source,
                             const struct bh_address *target)
{
	key->direction = direction;
	key->local = direction == BH_OUT ? *source : *target;
	key->remote = direction == BH_OUT ? *target : *source;
}

static inline void bh_orient_ports(struct bh_key *key, uint16_t source, uint16_t target)
{
	key->local_port = key->direction == BH_OUT ? source : target;
	key->remote_port = key->direction == BH_OUT ? target : source;
}

/*
 * The inner header of an ICMP error at `offset`, of which `left` bytes are the packet's. Truncated:
 * non-zero. A header that names no conversation (a later fragment, extension headers) leaves
 * has_inner 0, and rules decide.
 */
BH_GLOBAL int bh_parse_inner(BH_CTX *ctx, struct bh_packet *packet, uint32_t offset,
                                      uint32_t left)
{
	BH_ENTER(ctx, packet, -1);
	struct bh_key *inner = &packet->inner;
	struct bh_address source, target;
	uint8_t ip[40] = {0}, l4[8] = {0};
	uint32_t header;

	inner->v6 = packet->key.v6;
	if (inner->v6) {
		header = 40;
		if (left < header + 8 || bh_load(ctx, offset, ip, 40) || (ip[0] >> 4) != 6)
			return -1;
		bh_get_v6(&source, ip + 8);
		bh_get_v6(&target, ip + 24);
		inner->protocol = ip[6];
	} else {
		if (left < 20 || bh_load(ctx, offset, ip, 20) || (ip[0] >> 4) != 4)
			return -1;
		header = (uint32_t)(ip[0] & 15) * 4;
		if (header < 20 || left < header + 8)
			return -1;
		bh_get_v4(&source, ip + 12);
		bh_get_v4(&target, ip + 16);
		inner->protocol = ip[9];
		if (bh_get16(ip + 6) & 0x1fff)
			return 0;
	}
	if (bh_load(ctx, offset + header, l4, 8))
		return -1;
	bh_orient(inner, packet->key.direction == BH_IN ? BH_OUT : BH_IN, &source, &target);
	if (bh_has_ports(inner->protocol)) {
		bh_orient_ports(inner, bh_get16(l4), bh_get16(l4 + 2));
	} else if (bh_is_icmp(inner)) {
		inner->local_port = bh_get16(l4);
		inner->remote_port = 0;
		packet->inner_id = bh_get16(l4 + 4);
		if (bh_icmp_is_error(inner))
			return 0;
	} else if (inner->v6 && bh_is_extension(inner->protocol)) {
		return 0;
	}
	/* An error from here goes to whom it speaks of; else a flow to one would let errors, and what they
	 * carry, out to all. One from outside may come from any router on the way. */
	packet->has_inner = bh_address_equal(&inner->local, &packet->key.local) &&
	                    (packet->key.direction == BH_IN ||
	                     bh_address_equal(&inner->remote, &packet->key.remote));
	return 0;
}

/* Neighbour discovery: the target, and the link-layer address if an option has one. */
static inline int bh_parse_neighbour(BH_CTX *ctx, struct bh_packet *packet, uint32_t offset,
                                     uint32_t left)
{
	uint8_t type = bh_icmp_type(&packet->key);
	uint8_t nd[24] = {0}, option[8] = {0};
	uint32_t header = type == 133 ? 8 : type == 134 ? 16 : type == 137 ? 40 : 24;

	if (left < header || packet->ttl != 255 || (packet->key.local_port & 0xff))
		return -1; /* RFC 4861, 6.1 and 7.1: hop limit 255, code 0 */
	if (type == 135 || type == 136) {
		if (bh_load(ctx, offset, nd, 24))
			return -1;
		bh_get_v6(&packet->target, nd + 8);
	}
	for (int i = 0; i < BH_OPTIONS_MAX; i++) {
		if (left < header + 8)
			return 0;
		if (bh_load(ctx, offset + header, option, 8) || !option[1])
			return -1;
		if (option[0] == 1 || option[0] == 2) {
			if (packet->lladdr_option)
				return -1;
			packet->lladdr_option = option[0];
			__builtin_memcpy(packet->lladdr, option + 2, 6);
		}
		header += (uint32_t)option[1] * 8;
	}
	return left > header ? -1 : 0;
}

BH_GLOBAL int bh_parse_icmp(BH_CTX *ctx, struct bh_packet *packet, uint32_t offset,
                                     uint32_t left)
{
	BH_ENTER(ctx, packet, -1);
	struct bh_key *key = &packet->key;
	uint8_t header[8] = {0};

	if (left < 8 || bh_load(ctx, offset, header, 8))
		return -1;
	key->local_port = bh_get16(header);
	packet->id = bh_get16(header + 4);
	if (key->v6 && bh_icmp_type(key) >= 133 && bh_icmp_type(key) <= 137)
		return packet->fragment == BH_WHOLE ? bh_parse_neighbour(ctx, packet, offset, left)
		                                    : -1; /* RFC 6980 */
	if (packet->fragment == BH_WHOLE && bh_icmp_is_error(key))
		return bh_parse_inner(ctx, packet, offset + 8, left - 8);
	return 0;
}

/*
 * A sender may leave a checksum to whoever needs it, and says where it belongs: two bytes that are written
 * after the verdict. They may be the transport header's own, or behind what is judged (a tunnelled packet's);
 * anywhere else they would make another packet of it.
 */
static inline bool bh_checksum_is_lawful(uint32_t protocol, uint32_t transport, uint32_t at)
{
	if (!at)
		return true;
	if (protocol == BH_PROTO_TCP)
		return at == transport + 16 || at >= transport + 20;
	if (protocol == BH_PROTO_UDP || protocol == BH_PROTO_UDPLITE)
		return at >= transport + 6;
	/* What is behind an ICMP header is judged too, and no stack leaves its checksum to others. */
	return protocol != BH_PROTO_ICMP && protocol != BH_PROTO_ICMP6 && at >= transport + 8;
}

/* The transport header at `offset`, of which `left` bytes are the packet's. */
BH_GLOBAL int bh_parse_transport(BH_CTX *ctx, struct bh_packet *packet, uint32_t offset,
                                          uint32_t left)
{
	BH_ENTER(ctx, packet, -1);
	struct bh_key *key = &packet->key;
	uint8_t header[14] = {0};
	uint32_t size;

	if (!bh_checksum_is_lawful(key->protocol, offset, packet->checksum_at))
		return -1;
	if (bh_is_icmp(key))
		return bh_parse_icmp(ctx, packet, offset, left);
	if (!bh_has_ports(key->protocol))
		return 0;
	size = key->protocol == BH_PROTO_TCP ? 20 : key->protocol == BH_PROTO_UDP ||
	       key->protocol == BH_PROTO_UDPLITE ? 8 : 12;
	if (left < size || bh_load(ctx, offset, header, 8))
		return -1;
	bh_orient_ports(key, bh_get16(header), bh_get16(header + 2));
	if (key->protocol == BH_PROTO_UDP && packet->fragment == BH_WHOLE && !bh_is_gso(ctx)) {
		size = bh_get16(header + 4);
		if (size < 8 || size > left)
			return -1;
	}
	if (key->protocol == BH_PROTO_TCP) {
		if (bh_load(ctx, offset, header, 14))
			return -1;
		size = (uint32_t)(header[12] >> 4) * 4;
		if (size < 20 || size > left)
			return -1;
		packet->tcp_flags = header[13];
	}
	return 0;
}

/*
 * A fragment at byte `at` of its packet. One that would write into a transport header, which the
 * first has in full, is malformed (RFC 1858, RFC 3128).
 */
static inline int bh_parse_fragment(struct bh_packet *packet, uint32_t at, bool more, uint32_t left)
{
	if (at == 0) {
		packet->fragment = more ? BH_FIRST : BH_WHOLE;
		return 0;
	}
	packet->fragment = BH_LATER;
	if (!left || at + left > 65535 || (more && left % 8))
		return -1;
	return at < 24 && packet->key.protocol == BH_PROTO_TCP ? -1 : 0;
}

/* IPv4 options: well-formed, and no source route, which would make the destination a lie. */
BH_GLOBAL int bh_parse_options(BH_CTX *ctx, uint32_t offset, uint32_t size)
{
	uint8_t option[2] = {0};
	uint32_t at = 0;

	for (int i = 0; i < 40; i++) {
		if (at >= size)
			return 0;
		if (bh_load(ctx, offset + at, option, 1))
			return -1;
		if (option[0] == 0)
			return 0;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (option[0] == 131 || option[0] == 137 || at + 2 > size ||
		    bh_load(ctx, offset + at, option, 2) || option[1] < 2 || at + option[1] > size)
			return -1;
		at += option[1];
	}
	return 0;
}

BH_GLOBAL int bh_parse_ip4(BH_CTX *ctx, struct bh_packet *packet)
{
	BH_ENTER(ctx, packet, -1);
	uint32_t wire = bh_length(ctx) - 14, header, total, fragment;
	struct bh_address source, target;
	uint8_t ip[20] = {0};

	if (bh_load(ctx, 14, ip, 20) || (ip[0] >> 4) != 4)
		return -1;
	header = (uint32_t)(ip[0] & 15) * 4;
	total = bh_get16(ip + 2);
	if (bh_is_gso(ctx))
		total = wire;
	if (header < 20 || total < header || total > wire)
		return -1;
	bh_get_v4(&source, ip + 12);
	bh_get_v4(&target, ip + 16);
	bh_orient(&packet->key, packet->key.direction, &source, &target);
	packet->key.protocol = ip[9];
	packet->ttl = ip[8];
	packet->fragment_id = bh_get16(ip + 4);
	if (header > 20 && bh_parse_options(ctx, 34, header - 20))
		return -1;
	fragment = bh_get16(ip + 6);
	if (bh_parse_fragment(packet, (fragment & 0x1fff) * 8, fragment & 0x2000, total - header))
		return -1;
	if (packet->fragment == BH_LATER)
		return 0;
	return bh_parse_transport(ctx, packet, 14 + header, total - header);
}

/*
 * Walks the extension headers; sets `offset` and `left` to what follows and the protocol to its
 * number. A routing header with segments left is malformed (the destination is not the last), and
 * so are hop-by-hop anywhere but first, a second fragment header, and more than BH_EXTENSIONS_MAX.
 */
BH_GLOBAL int bh_parse_extensions(BH_CTX *ctx, struct bh_packet *packet, uint32_t *offset,
                                           uint32_t *left)
{
	BH_ENTER(ctx, packet && offset && left, -1);
	uint8_t next = packet->key.protocol, header[8] = {0};
	uint32_t at = *offset, rest = *left, size, fragment;
	bool fragmented = false;

	for (int i = 0; i < BH_EXTENSIONS_MAX; i++) {
		if (!bh_is_extension(next))
			break;
		if (rest < 8 || bh_load(ctx, at, header, 8) || (next == 0 && i) ||
		    (next == 43 && header[3]))
			return -1;
		size = next == 44 ? 8 : next == 51 ? ((uint32_t)header[1] + 2) * 4 : ((uint32_t)header[1] + 1) * 8;
		if (size > rest)
			return -1;
		if (next == 44) {
			if (fragmented)
				return -1;
			fragmented = true;
			fragment = bh_get16(header + 2);
			packet->fragment_id = bh_get32(header + 4);
			packet->key.protocol = header[0];
			if (bh_parse_fragment(packet, fragment & 0xfff8, fragment & 1, rest - 8))
				return -1;
			if (packet->fragment == BH_LATER)
				return 0;
		}
		next = header[0];
		at += size;
		rest -= size;
	}
	if (bh_is_extension(next))
		return -1;
	packet->key.protocol = next;
	*offset = at;
	*left = rest;
	return 0;
}

BH_GLOBAL int bh_parse_ip6(BH_CTX *ctx, struct bh_packet *packet)
{
	BH_ENTER(ctx, packet, -1);
	uint32_t wire = bh_length(ctx) - 14, offset = 54, left;
	struct bh_address source, target;
	uint8_t ip[40] = {0};

	if (bh_load(ctx, 14, ip, 40) || (ip[0] >> 4) != 6)
		return -1;
	left = bh_is_gso(ctx) ? wire - 40 : bh_get16(ip + 4);
	if (left > wire - 40)
		return -1;
	bh_get_v6(&source, ip + 8);
	bh_get_v6(&target, ip + 24);
	if (bh_address_is_v4(&source) || bh_address_is_v4(&target))
		return -1; /* a mapped address is never on the wire (RFC 4038, 4.2) */
	bh_orient(&packet->key, packet->key.direction, &source, &target);
	packet->key.protocol = ip[6];
	packet->key.v6 = 1;
	packet->ttl = ip[7];
	if (bh_parse_extensions(ctx, packet, &offset, &left))
		return -1;
	if (packet->fragment == BH_LATER)
		return 0;
	return bh_parse_transport(ctx, packet, offset, left);
}

static inline int bh_parse_arp(BH_CTX *ctx, struct bh_packet *packet)
{
	struct bh_address source, target;
	uint8_t arp[28] = {0};

	if (bh_load(ctx, 14, arp, 28) || bh_get16(arp) != 1 || bh_get16(arp + 2) != BH_ETH_IP ||
	    arp[4] != 6 || arp[5] != 4 || arp[6] || arp[7] < 1 || arp[7] > 2)
		return -1;
	bh_get_v4(&source, arp + 14);
	bh_get_v4(&target, arp + 24);
	bh_orient(&packet->key, packet->key.direction, &source, &target);
	packet->arp_op = arp[7];
	__builtin_memcpy(packet->lladdr, arp + 8, 6);
	return 0;
}

/* What follows the MAC addresses; non-zero: malformed. */
static inline int bh_parse_payload(BH_CTX *ctx, struct bh_packet *packet)
{
	switch (packet->ethertype) {
	case 0x8100:
	case 0x88a8:
	case 0x9100:
		return -1;
	case BH_ETH_IP:
		packet->form = BH_FORM_IP;
		return bh_parse_ip4(ctx, packet);
	case BH_ETH_IP6:
		packet->form = BH_FORM_IP;
		return bh_parse_ip6(ctx, packet);
	case BH_ETH_ARP:
		packet->form = BH_FORM_ARP;
		return bh_parse_arp(ctx, packet);
	default:
		packet->form = BH_FORM_OTHER;
		return 0;
	}
}

/* Fills `packet`, which the caller has cleared but for key.direction and checksum_at. */
BH_GLOBAL int bh_parse(BH_CTX *ctx, struct bh_packet *packet)
{
	BH_ENTER(ctx, packet, -1);
	uint8_t ethernet[14] = {0};

	packet->form = BH_FORM_MALFORMED;
	if (bh_is_tagged(ctx) || bh_load(ctx, 0, ethernet, 14))
		return 0;
	__builtin_memcpy(packet->target_mac, ethernet, 6);
	__builtin_memcpy(packet->source_mac, ethernet + 6, 6);
	packet->ethertype = bh_get16(ethernet + 12);
	if (bh_parse_payload(ctx, packet))
		packet->form = BH_FORM_MALFORMED;
	/* Nothing but a whole packet or its first part has a checksum to be written. */
	if (packet->checksum_at && (packet->form == BH_FORM_ARP || packet->fragment == BH_LATER ||
	                            packet->checksum_at < 14))
		packet->form = BH_FORM_MALFORMED;
	return 0;
}

#endif
