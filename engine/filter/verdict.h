/*
 * verdict.h - the verdict on one packet at one endpoint's gate: form, identity, flow, rules, default.
 *
 * The only place where DESIGN 3.1's order is written down; the kernel, the memory platform and
 * `explain` run this same text. Needs what packet.h, table.h and flow.h ask of their includer, and
 *
 *   int bh_rules_lookup(BH_CTX *, const struct bh_conf *, const struct bh_key *, struct bh_entry *)
 *
 * which asks an endpoint's two tables: 1 and the winning entry, or 0.
 */
#ifndef BH_FILTER_VERDICT_H
#define BH_FILTER_VERDICT_H

#include "flow.h"
#include "table.h"

static inline void bh_decide(struct bh_verdict *verdict, uint8_t action, uint8_t by)
{
	verdict->action = action;
	verdict->by = by;
	verdict->audit = 0;
	verdict->log = 0;
	verdict->rule = 0;
}

/* What was blocked passes after all, and is marked. */
static inline void bh_audit(struct bh_verdict *verdict)
{
	if (verdict->action == BH_BLOCK) {
		verdict->action = BH_ALLOW;
		verdict->audit = 1;
	}
}

/* The default of the packet's direction. */
static inline void bh_judge_default(const struct bh_conf *conf, uint8_t direction,
                                    struct bh_verdict *verdict)
{
	uint32_t block = direction == BH_IN ? BH_CONF_BLOCK_IN : BH_CONF_BLOCK_OUT;

	bh_decide(verdict, conf->flags & block ? BH_BLOCK : BH_ALLOW, BH_BY_DEFAULT);
	if (conf->flags & BH_CONF_AUDIT)
		bh_audit(verdict);
}

static inline bool bh_mac_equal(const uint8_t *a, const uint8_t *b)
{
	return bh_get32(a) == bh_get32(b) && bh_get16(a + 4) == bh_get16(b + 4);
}

/* An address of the endpoint's own: assigned, or its fe80. */
BH_NOINLINE int bh_is_own(const struct bh_conf *conf, const struct bh_address *address)
{
	if (conf->link_local.hi && bh_address_equal(address, &conf->link_local))
		return 1;
	for (uint32_t i = 0; i < BH_ADDRESSES_MAX; i++)
		if (i < conf->addresses_count && bh_address_equal(address, &conf->addresses[i]))
			return 1;
	return 0;
}

/* 255.255.255.255 or the broadcast address of one of its subnets. */
BH_NOINLINE int bh_is_broadcast(const struct bh_conf *conf, const struct bh_address *address)
{
	if (address->hi == 0 && address->lo == (BH_V4_MAPPED | 0xffffffff))
		return 1;
	for (uint32_t i = 0; i < BH_ADDRESSES_MAX; i++)
		if (i < conf->addresses_count && bh_address_equal(address, &conf->broadcasts[i]))
			return 1;
	return 0;
}

enum bh_identity { BH_IDENTITY_OK, BH_IDENTITY_NEIGHBOUR, BH_IDENTITY_SPOOF, BH_IDENTITY_NOT_OURS };

static inline int bh_identity_arp(const struct bh_conf *conf, const struct bh_packet *packet)
{
	const struct bh_key *key = &packet->key;

	if (!conf->addresses_count)
		return BH_IDENTITY_NEIGHBOUR;
	if (key->direction == BH_OUT)
		return bh_mac_equal(packet->lladdr, conf->mac) &&
		       ((bh_address_is_unspecified(&key->local) && packet->arp_op == 1) ||
		        bh_is_own(conf, &key->local)) ? BH_IDENTITY_NEIGHBOUR : BH_IDENTITY_SPOOF;
	/* An announcement speaks of its sender; it is how a neighbour's failover is learnt. */
	if (bh_is_own(conf, &key->local) || bh_address_equal(&key->local, &key->remote))
		return BH_IDENTITY_NEIGHBOUR;
	return BH_IDENTITY_NOT_OURS;
}

/* Router advertisements, redirects and DHCP answers: only from who may send them. */
static inline bool bh_is_impostor(const struct bh_conf *conf, const struct bh_key *key)
{
	uint8_t type = bh_icmp_type(key);

	if (bh_is_icmp(key) && !(conf->flags & BH_CONF_ROUTER))
		return key->v6 ? type == 134 || type == 137 : type == 5 || type == 9;
	if (key->protocol == BH_PROTO_UDP && !(conf->flags & BH_CONF_DHCP_SERVER))
		return key->remote_port == (key->v6 ? 546 : 68); /* clients look at no source port */
	return false;
}

static inline bool bh_is_lawful_unspecified(const struct bh_conf *conf,
                                            const struct bh_packet *packet)
{
	const struct bh_key *key = &packet->key;
	uint8_t type = bh_icmp_type(key);

	if (packet->fragment != BH_WHOLE)
		return false;
	if (!key->v6)
		return key->protocol == BH_PROTO_UDP && key->local_port == 68 && key->remote_port == 67;
	if (key->protocol != BH_PROTO_ICMP6)
		return false;
	if (type == 135) /* is this address, which is mine, taken? */
		return !packet->lladdr_option && bh_is_own(conf, &packet->target);
	return (type >= 130 && type <= 132) || type == 143;
}

/* Solicitations and advertisements of neighbours, once the addresses of the packet are lawful. */
static inline int bh_identity_neighbour(const struct bh_conf *conf, const struct bh_packet *packet)
{
	uint8_t type = bh_icmp_type(&packet->key);

	if (!conf->addresses_count)
		return BH_IDENTITY_NEIGHBOUR;
	if (packet->key.direction == BH_OUT) {
		if (packet->lladdr_option && !bh_mac_equal(packet->lladdr, conf->mac))
			return BH_IDENTITY_SPOOF;
		return type == 136 && !bh_is_own(conf, &packet->target) ? BH_IDENTITY_SPOOF
		                                                         : BH_IDENTITY_NEIGHBOUR;
	}
	if (type == 135 && !bh_is_own(conf, &packet->target))
		return BH_IDENTITY_NOT_OURS;
	return BH_IDENTITY_NEIGHBOUR;
}

/* 127/8 never crosses a wire (RFC 1122, 3.2.1.3); beyond this one the host lets it in, for ports
 * that are published (CVE-2020-8558). */
static inline bool bh_is_loopback4(const struct bh_address *address)
{
	return address->hi == 0 && address->lo >> 24 == (BH_V4_MAPPED | 0x7f000000) >> 24;
}

BH_GLOBAL int bh_identity(const struct bh_conf *conf, const struct bh_packet *packet)
{
	BH_REQUIRE(conf && packet, BH_IDENTITY_SPOOF);
	const struct bh_key *key = &packet->key;
	bool nd = packet->form == BH_FORM_IP && key->v6 && key->protocol == BH_PROTO_ICMP6 &&
	          packet->fragment == BH_WHOLE &&
	          (bh_icmp_type(key) == 135 || bh_icmp_type(key) == 136);

	if (packet->form == BH_FORM_IP && (bh_is_loopback4(&key->remote) || bh_is_loopback4(&key->local)))
		return key->direction == BH_OUT ? BH_IDENTITY_SPOOF : BH_IDENTITY_NOT_OURS;
	if (!(conf->flags & BH_CONF_ANTISPOOF))
		return packet->form == BH_FORM_ARP || nd ? BH_IDENTITY_NEIGHBOUR : BH_IDENTITY_OK;
	if (key->direction == BH_OUT ? !bh_mac_equal(packet->source_mac, conf->mac)
	    : !(packet->target_mac[0] & 1) && !bh_mac_equal(packet->target_mac, conf->mac))
		return key->direction == BH_OUT ? BH_IDENTITY_SPOOF : BH_IDENTITY_NOT_OURS;
	if (packet->form == BH_FORM_ARP)
		return bh_identity_arp(conf, packet);
	if (packet->form != BH_FORM_IP)
		return BH_IDENTITY_OK;
	if (key->direction == BH_OUT && packet->fragment != BH_LATER && bh_is_impostor(conf, key))
		return BH_IDENTITY_SPOOF;
	if (conf->addresses_count) {
		if (key->direction == BH_OUT) {
			if (bh_address_is_unspecified(&key->local)) {
				if (!bh_is_lawful_unspecified(conf, packet))
					return BH_IDENTITY_SPOOF;
			} else if (!bh_is_own(conf, &key->local)) {
				return BH_IDENTITY_SPOOF;
			}
		} else if (!bh_address_is_multicast(&key->local) && !bh_is_own(conf, &key->local) &&
		           !bh_is_broadcast(conf, &key->local)) {
			return BH_IDENTITY_NOT_OURS;
		}
	}
	/* A router learns the address of who asks for it, too. */
	if (key->direction == BH_OUT && packet->lladdr_option == 1 && !bh_mac_equal(packet->lladdr, conf->mac))
		return BH_IDENTITY_SPOOF;
	return nd ? bh_identity_neighbour(conf, packet) : BH_IDENTITY_OK;
}

/* Rules, then the default: steps 4 and 5. */
BH_GLOBAL int bh_judge_rules(BH_CTX *ctx, const struct bh_conf *conf,
                                      const struct bh_key *key, struct bh_verdict *verdict)
{
	BH_ENTER(ctx, conf && key && verdict, 0);
	struct bh_entry entry = {0, 0, 0};

	if (bh_rules_lookup(ctx, conf, key, &entry)) {
		bh_decide(verdict, entry.flags & BH_ENTRY_BLOCK ? BH_BLOCK : BH_ALLOW, BH_BY_RULE);
		verdict->rule = entry.rule;
		verdict->log = (entry.flags & BH_ENTRY_LOG) != 0;
		if (entry.flags & BH_ENTRY_AUDIT || conf->flags & BH_CONF_AUDIT)
			bh_audit(verdict);
		return 0;
	}
	bh_judge_default(conf, key->direction, verdict);
	return 0;
}

/* A flow allowed under an older policy: its opener is asked about once more. */
BH_GLOBAL int bh_flow_ask_again(BH_CTX *ctx, const struct bh_conf *conf, struct bh_packet *packet,
                                struct bh_flow *flow)
{
	BH_ENTER(ctx, conf && packet && flow, 0);
	const struct bh_flow_key *key = &packet->flow;
	struct bh_verdict verdict = {0, 0, 0, 0, 0};
	struct bh_key *opener = &packet->opener;

	opener->local = key->local;
	opener->remote = key->remote;
	opener->local_port = flow->local_port;
	opener->remote_port = flow->remote_port;
	opener->protocol = key->protocol;
	opener->direction = flow->opener & 1;
	opener->v6 = key->v6;
	opener->reserved = 0;
	bh_judge_rules(ctx, conf, opener, &verdict);
	flow->blocked = verdict.action == BH_BLOCK;
	flow->audit = verdict.audit;
	flow->rule = verdict.rule;
	flow->generation = conf->generation;
	return 0;
}

/* The verdict of the packet's flow, if it is a live one: non-zero. Touches it unless `error`. */
BH_GLOBAL int bh_judge_flow(BH_CTX *ctx, const struct bh_conf *conf, struct bh_packet *packet,
                            struct bh_verdict *verdict)
{
	BH_ENTER(ctx, conf && packet && verdict, 0);
	const struct bh_flow_key *key = &packet->flow;
	bool error = packet->form == BH_FORM_IP && packet->has_inner;
	struct bh_flow *flow = bh_flow_find(ctx, key);
	uint64_t now = bh_now(ctx);

	if (!flow)
		return 0;
	if (bh_flow_expired(conf, flow, key, now)) {
		bh_flow_forget(ctx, key);
		return 0;
	}
	if (flow->generation != conf->generation)
		bh_flow_ask_again(ctx, conf, packet, flow);
	if (flow->blocked) {
		bh_decide(verdict, BH_BLOCK, flow->rule ? BH_BY_RULE : BH_BY_DEFAULT);
	} else {
		bh_decide(verdict, BH_ALLOW, BH_BY_FLOW);
		verdict->audit = flow->audit;
		if (!error)
			bh_flow_touch(ctx, flow, key, packet->key.direction, packet->tcp_flags, now);
	}
	verdict->rule = flow->rule;
	return 1;
}

/* Remembers what rules or a default allowed. Non-zero: no room. */
BH_GLOBAL int bh_flow_open(BH_CTX *ctx, const struct bh_conf *conf,
                                    const struct bh_packet *packet,
                                    const struct bh_verdict *verdict)
{
	BH_ENTER(ctx, conf && packet && verdict, -1);
	const struct bh_flow_key *key = &packet->flow;
	uint8_t opener = packet->key.direction & 1, state = BH_FLOW_OPENING;
	struct bh_flow *flow;

	if (bh_flow_find(ctx, key)) /* a bare SYN opens the same conversation anew */
		bh_flow_forget(ctx, key);
	flow = bh_flow_blank(ctx);
	if (!flow)
		return -1;
	if (key->protocol == BH_PROTO_TCP && packet->tcp_flags & BH_TCP_RST)
		state = BH_FLOW_RESET;
	flow->created = flow->seen = bh_now(ctx);
	flow->generation = conf->generation;
	flow->rule = verdict->rule;
	flow->audit = verdict->audit;
	flow->local_port = packet->key.local_port;
	flow->remote_port = packet->key.remote_port;
	flow->opener = opener;
	flow->packets[opener] = 1;
	flow->state = state;
	return bh_flow_start(ctx, conf, key, flow);
}

BH_GLOBAL int bh_fragment_open(BH_CTX *ctx, const struct bh_conf *conf, struct bh_packet *packet,
                               const struct bh_verdict *verdict)
{
	BH_ENTER(ctx, conf && packet && verdict, -1);
	struct bh_flow *flow;

	bh_fragment_key_of(&packet->flow, conf->endpoint, packet);
	flow = bh_flow_find(ctx, &packet->flow);
	if (flow) { /* the identification is in use again */
		flow->seen = bh_now(ctx);
		flow->rule = verdict->rule;
		flow->audit = verdict->audit;
		return 0;
	}
	flow = bh_flow_blank(ctx);
	if (!flow)
		return -1;
	flow->created = flow->seen = bh_now(ctx);
	flow->generation = conf->generation;
	flow->rule = verdict->rule;
	flow->audit = verdict->audit;
	flow->opener = packet->key.direction & 1;
	return bh_flow_start(ctx, conf, &packet->flow, flow);
}

/* Not the first fragment: as the first went. */
static inline void bh_judge_fragment(BH_CTX *ctx, const struct bh_conf *conf,
                                     struct bh_packet *packet, struct bh_verdict *verdict)
{
	struct bh_flow *flow;

	bh_fragment_key_of(&packet->flow, conf->endpoint, packet);
	flow = bh_flow_find(ctx, &packet->flow);
	if (!flow || bh_flow_expired(conf, flow, &packet->flow, bh_now(ctx))) {
		bh_decide(verdict, BH_BLOCK, BH_BY_MALFORMED);
		return;
	}
	bh_decide(verdict, BH_ALLOW, BH_BY_FRAGMENT);
	verdict->rule = flow->rule;
	verdict->audit = flow->audit;
}

/* Steps 3 to 5 for an IP packet whose form and identity are right. */
BH_GLOBAL int bh_judge_ip(BH_CTX *ctx, const struct bh_conf *conf,
                          struct bh_packet *packet, struct bh_verdict *verdict)
{
	BH_ENTER(ctx, conf && packet && verdict, 0);
	const struct bh_key *packet_key = &packet->key;
	bool icmp = bh_is_icmp(packet_key), opens = true;

	if (packet->fragment == BH_LATER) {
		bh_judge_fragment(ctx, conf, packet, verdict);
		return 0;
	}
	if (icmp && bh_icmp_is_error(packet_key)) {
		opens = false;
		if (packet->has_inner) {
			bh_flow_key_of(&packet->flow, conf->endpoint, &packet->inner, packet->inner_id);
			if (bh_judge_flow(ctx, conf, packet, verdict))
				return 0;
		}
	} else {
		bool bare_syn = packet_key->protocol == BH_PROTO_TCP &&
		                (packet->tcp_flags & (BH_TCP_SYN | BH_TCP_ACK)) == BH_TCP_SYN;

		if ((icmp && bh_icmp_query_of_reply(packet_key)) ||
		    (packet_key->direction == BH_IN && bh_is_announcement(packet_key)))
			opens = false;
		bh_flow_key_of(&packet->flow, conf->endpoint, packet_key, packet->id);
		if (!bare_syn && bh_judge_flow(ctx, conf, packet, verdict))
			goto fragment;
	}
	bh_judge_rules(ctx, conf, packet_key, verdict);
	if (verdict->action == BH_BLOCK)
		return 0;
	if (opens && bh_flow_open(ctx, conf, packet, verdict)) {
		bh_decide(verdict, BH_BLOCK, BH_BY_QUOTA);
		return 0;
	}
fragment:
	if (packet->fragment == BH_FIRST && verdict->action == BH_ALLOW &&
	    bh_fragment_open(ctx, conf, packet, verdict))
		bh_decide(verdict, BH_BLOCK, BH_BY_QUOTA);
	return 0;
}

/* ARP, or a neighbour's solicitation: a question that all on the link hear. */
static inline bool bh_is_asking(const struct bh_packet *packet)
{
	const struct bh_key *key = &packet->key;

	return packet->form == BH_FORM_ARP ||
	       (key->v6 && key->protocol == BH_PROTO_ICMP6 && bh_icmp_type(key) == 135);
}

/* The verdict on a parsed packet. */
static inline void bh_judge(BH_CTX *ctx, const struct bh_conf *conf, struct bh_packet *packet,
                            struct bh_verdict *verdict)
{
	if (packet->form == BH_FORM_MALFORMED) {
		bh_decide(verdict, BH_BLOCK, BH_BY_MALFORMED);
		return;
	}
	switch (bh_identity(conf, packet)) {
	case BH_IDENTITY_NEIGHBOUR:
		bh_decide(verdict, BH_ALLOW, BH_BY_NEIGHBOUR);
		return;
	case BH_IDENTITY_SPOOF:
		bh_decide(verdict, BH_BLOCK, BH_BY_SPOOF);
		return;
	case BH_IDENTITY_NOT_OURS:
		bh_decide(verdict, BH_BLOCK, bh_is_asking(packet) ? BH_BY_NEIGHBOUR : BH_BY_SPOOF);
		return;
	default:
		break;
	}
	if (packet->form == BH_FORM_OTHER)
		bh_judge_default(conf, packet->key.direction, verdict);
	else
		bh_judge_ip(ctx, conf, packet, verdict);
}

#endif
