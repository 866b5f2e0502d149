/*
 * express.h - the verdict on a plain packet of a live flow, in one go.
 *
 * Nearly all packets are TCP segments but the first or UDP datagrams, without options, extension
 * headers or fragments, of a flow that there is. For these the steps of verdict.h come down to a few
 * comparisons, done here without a copy, a call or a clock finer than needed. Whatever is the least
 * out of the ordinary is left to verdict.h: this says what that would have said, or nothing. A
 * property test holds the two together.
 *
 * Asks of its includer, beside what verdict.h does:
 *   const uint8_t *bh_view(BH_CTX *ctx, uint32_t size)   the first `size` bytes of the frame where they
 *                                                        lie, or NULL if they do not lie together
 *   struct bh_flow *bh_flow_at(BH_CTX *ctx, const struct bh_flow_key *)   bh_flow_find(), of a key that is
 *                                                        no global function's parameter
 */
#ifndef BH_FILTER_EXPRESS_H
#define BH_FILTER_EXPRESS_H

#include "verdict.h"

/* Numbers of the packet as it lies, which processors that run the gate load at any address. */
static inline uint16_t bh_wire16(const uint8_t *p)
{
#ifdef __bpf__
	return __builtin_bswap16(*(const uint16_t *)p);
#else
	return bh_get16(p);
#endif
}

static inline uint32_t bh_wire32(const uint8_t *p)
{
#ifdef __bpf__
	return __builtin_bswap32(*(const uint32_t *)p);
#else
	return bh_get32(p);
#endif
}

static inline uint64_t bh_wire64(const uint8_t *p)
{
	return (uint64_t)bh_wire32(p) << 32 | bh_wire32(p + 4);
}

/*
 * What is written as one word is read as one: a hash function that reads a word which was written in
 * parts waits for all of them to leave the processor.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BH_WORD(first, second) ((uint32_t)(first) | (uint32_t)(second) << 16)
#else
#error "the order of two halves of a word is not known here"
#endif

_Static_assert(BH_KIND_FLOW == 0, "a plain packet's key has kind and direction 0");

static inline void bh_plain_put(void *to, uint32_t word)
{
	__builtin_memcpy(__builtin_assume_aligned(to, sizeof(word)), &word, sizeof(word));
}

/* A plain packet: its flow's key but for the endpoint, seen from where it goes to or comes from. */
struct bh_plain {
	struct bh_flow_key key;
	uint64_t now;         /* bh_now(), at most some milliseconds late; the caller's to fill in */
	uint16_t checksum_at; /* as of struct bh_packet; likewise */
	uint8_t tcp_flags;
};

/* The transport header of a plain packet at byte `at`, of which `left` bytes are the packet's. */
static inline __attribute__((always_inline)) bool bh_plain_transport(BH_CTX *ctx,
                                                                     struct bh_plain *plain,
                                                                     uint8_t protocol, uint32_t at,
                                                                     uint32_t left, bool gso)
{
	const uint8_t *frame;
	uint32_t size;

	if (!bh_checksum_is_lawful(protocol, at, plain->checksum_at))
		return false;
	if (protocol == BH_PROTO_UDP) {
		frame = bh_view(ctx, at + 8);
		if (!frame)
			return false;
		size = bh_wire16(frame + at + 4);
		if (!gso && (size < 8 || size > left))
			return false;
		plain->tcp_flags = 0;
	} else if (protocol == BH_PROTO_TCP) {
		frame = bh_view(ctx, at + 20);
		if (!frame)
			return false;
		size = (uint32_t)(frame[at + 12] >> 4) * 4;
		plain->tcp_flags = frame[at + 13];
		if (size < 20 || size > left || (plain->tcp_flags & (BH_TCP_SYN | BH_TCP_ACK)) == BH_TCP_SYN)
			return false;
	} else {
		return false;
	}
	bh_plain_put(&plain->key.local_port,
	             BH_WORD(bh_wire16(frame + at), bh_wire16(frame + at + 2)));
	return true;
}

/* Reads a packet as its sender sees it. False: not plain. */
static inline __attribute__((always_inline)) bool bh_plain_read(BH_CTX *ctx, struct bh_plain *plain)
{
	const uint8_t *frame = bh_view(ctx, 14 + 20 + 8);
	uint32_t wire = bh_length(ctx) - 14, total;
	bool gso = bh_is_gso(ctx);

	if (!frame || bh_is_tagged(ctx))
		return false;
	plain->key.fragment_id = 0;
	if (bh_wire16(frame + 12) == BH_ETH_IP) {
		total = gso ? wire : bh_wire16(frame + 16);
		if (frame[14] != 0x45 || bh_wire16(frame + 20) & 0x3fff || total < 28 || total > wire)
			return false;
		bh_plain_put(&plain->key.protocol, frame[23]);
		plain->key.local.hi = plain->key.remote.hi = 0;
		plain->key.local.lo = BH_V4_MAPPED | bh_wire32(frame + 26);
		plain->key.remote.lo = BH_V4_MAPPED | bh_wire32(frame + 30);
		return bh_plain_transport(ctx, plain, frame[23], 34, total - 20, gso);
	}
	if (bh_wire16(frame + 12) != BH_ETH_IP6)
		return false;
	frame = bh_view(ctx, 14 + 40 + 8);
	if (!frame || frame[14] >> 4 != 6)
		return false;
	total = gso ? wire - 40 : bh_wire16(frame + 18);
	if (total < 8 || total > wire - 40)
		return false;
	bh_plain_put(&plain->key.protocol, BH_WORD(frame[20], 1 << 8));
	plain->key.local.hi = bh_wire64(frame + 22);
	plain->key.local.lo = bh_wire64(frame + 30);
	plain->key.remote.hi = bh_wire64(frame + 38);
	plain->key.remote.lo = bh_wire64(frame + 46);
	return bh_plain_transport(ctx, plain, frame[20], 54, total, gso);
}

/* The same packet as its receiver sees it. */
static inline __attribute__((always_inline)) void bh_plain_turn(struct bh_plain *plain)
{
	struct bh_flow_key *key = &plain->key;
	struct bh_address local = key->local;

	key->local = key->remote;
	key->remote = local;
	bh_plain_put(&key->local_port, BH_WORD(key->remote_port, key->local_port));
}

/* Whether the ends are the endpoint's, among the first two of its addresses: mostly one a family. */
static inline __attribute__((always_inline)) bool bh_plain_is_own(BH_CTX *ctx,
                                                                  const struct bh_conf *conf,
                                                                  const struct bh_plain *plain,
                                                                  uint32_t direction)
{
	const struct bh_flow_key *key = &plain->key;
	const uint8_t *mac = bh_view(ctx, 14);

	if (!mac || !(conf->flags & BH_CONF_ANTISPOOF))
		return false;
	if (direction == BH_OUT)
		mac += 6;
	if (bh_wire32(mac) != bh_wire32(conf->mac) || bh_wire16(mac + 4) != bh_wire16(conf->mac + 4))
		return false;
	if (direction == BH_OUT && key->protocol == BH_PROTO_UDP && (key->remote_port == 68 || key->remote_port == 546))
		return false; /* it may be an impostor's */
	return (conf->addresses_count > 0 && bh_address_equal(&key->local, &conf->addresses[0])) ||
	       (conf->addresses_count > 1 && bh_address_equal(&key->local, &conf->addresses[1]));
}

/* The flow that the packet, turned as the direction wants it, belongs to, if that allows it; else NULL. It
 * is the flow's from here on. */
static inline __attribute__((always_inline)) struct bh_flow *bh_plain_flow(BH_CTX *ctx,
                                                                           const struct bh_conf *conf,
                                                                           struct bh_plain *plain,
                                                                           uint32_t direction)
{
	struct bh_flow_key *key = &plain->key;
	struct bh_flow *flow = bh_flow_at(ctx, key);
	uint64_t now = plain->now;

	if (!flow || flow->generation != conf->generation || flow->blocked || bh_flow_expired(conf, flow, key, now))
		return 0;
	bh_flow_touch(ctx, flow, key, (uint8_t)direction, plain->tcp_flags, flow->seen < now ? now : flow->seen);
	return flow;
}

/* The verdict of a flow, by what it says of the rule that let it in. */
static inline __attribute__((always_inline)) void bh_plain_allow(struct bh_verdict *verdict,
                                                                 uint32_t rule, uint8_t audit)
{
	bh_decide(verdict, BH_ALLOW, BH_BY_FLOW);
	verdict->audit = audit;
	verdict->rule = rule;
}

/* True, and the verdict, if there is such a flow. */
static inline __attribute__((always_inline)) bool bh_express(BH_CTX *ctx, const struct bh_conf *conf,
                                                             struct bh_plain *plain, uint32_t direction,
                                                             struct bh_verdict *verdict)
{
	struct bh_flow *flow;

	if (!bh_plain_is_own(ctx, conf, plain, direction))
		return false;
	plain->key.endpoint = conf->endpoint;
	flow = bh_plain_flow(ctx, conf, plain, direction);
	if (!flow)
		return false;
	bh_plain_allow(verdict, flow->rule, flow->audit);
	return true;
}

#endif
