/*
 * flow.h - flows: what one allowed packet lets others do, and who pays for remembering it.
 *
 * A flow is a row keyed by endpoint and conversation, seen from the container, so that both
 * directions find the same row. It expires by a timestamp checked when it is used; nothing runs in
 * the background. What a later fragment needs of its first is a row of the same table.
 *
 * Quota. Flows are charged to the compartment. Up to flows_guaranteed are its own; above that it
 * borrows from the room all compartments share, up to flows_limit. One that has no room left
 * replaces a flow of its own. Its flows stand in first-in-first-out lists (half open; answered or
 * short-lived; established TCP) for each direction of the opener, the ledger, one small row a flow;
 * the victim is an expired flow near the head of a list, else the oldest half-open one, else the
 * oldest. So a flood from one compartment costs no other a flow, and costs itself the half-open ones
 * first. Flows that were opened from outside take at most half of guarantee and limit, and replace
 * only their like: what others send in costs a compartment nothing that it opened itself.
 *
 * Concurrency. Counters are atomic, a place in a list is claimed by one fetch-and-add, and rows are
 * inserted with "only if absent". A flow names its place in one word, which is changed by
 * compare-and-swap before the row of the new place is inserted and the old one removed: so a ledger
 * row that its flow does not name is stale, and whoever finds it may remove it. A place just claimed
 * may have no row yet: who finds such a gap steps over it, and moves the head past it only when 64
 * newer places are claimed. Nobody looks behind the head. So who inserts a row looks at the head after
 * that, who moves the head looks at the row after that, and one of them sees that they crossed and gives
 * the flow up.
 *
 * An eBPF includer provides, before including this (rows stay where they are until deleted):
 *   uint64_t bh_now(BH_CTX *)                                         nanoseconds, any fixed origin
 *   struct bh_flow *bh_flow_find(BH_CTX *, const struct bh_flow_key *)
 *   int bh_flow_insert(BH_CTX *, const struct bh_flow_key *, const struct bh_flow *)   -EEXIST, -ENOMEM
 *   int bh_flow_remove(BH_CTX *, const struct bh_flow_key *)          0 if this call removed it
 *   struct bh_flow *bh_flow_blank(BH_CTX *)                           the one zeroed row to fill and insert
 *   struct bh_flow_key *bh_ledger_find(BH_CTX *, const struct bh_ledger_key *)
 *                                                    in the kernel a copy, which the next key overwrites
 *   int bh_ledger_insert(BH_CTX *, const struct bh_ledger_key *, const struct bh_flow_key *)
 *   void bh_ledger_remove(BH_CTX *, const struct bh_ledger_key *)
 *   struct bh_share *bh_share_find(BH_CTX *, uint32_t compartment)
 *   struct bh_room *bh_room(BH_CTX *)
 */
#ifndef BH_FILTER_FLOW_H
#define BH_FILTER_FLOW_H

#include "packet.h"

enum bh_flow_state {
	BH_FLOW_OPENING,  /* only the opener has spoken */
	BH_FLOW_ANSWERED, /* TCP: the opener has not confirmed yet */
	BH_FLOW_ESTABLISHED, /* TCP only */
	BH_FLOW_CLOSING,  /* a FIN was seen */
	BH_FLOW_RESET,    /* an RST was seen */
};

/* Of one direction; the lists of flows opened outbound come after the inbound ones. */
enum bh_flow_list { BH_LIST_HALF_OPEN, BH_LIST_ANSWERED, BH_LIST_ESTABLISHED, BH_LIST_KINDS };
#define BH_LISTS (2 * BH_LIST_KINDS)

/* Where a flow stands: its number in the list, and which list, in one word. */
#define BH_PLACE(number, list) ((uint64_t)(number) << 3 | (list))
#define BH_PLACE_NUMBER(place) ((place) >> 3)
#define BH_PLACE_LIST(place) ((uint32_t)((place) & 7))

struct bh_flow {
	uint64_t created; /* ns */
	uint64_t seen;    /* ns; of the last packet */
	uint64_t place;   /* BH_PLACE() */
	uint64_t packets[2]; /* by direction; counted without locks, so nearly */
	uint32_t compartment;
	uint32_t generation; /* of the policy that last allowed or blocked it */
	uint32_t rule;       /* id of what decided about the opener, 0 = the default */
	uint16_t local_port; /* the opener's, as rules see them */
	uint16_t remote_port;
	uint8_t opener;  /* enum bh_direction */
	uint8_t state;   /* enum bh_flow_state */
	uint8_t blocked; /* a later policy blocks it: its packets are dropped until it expires */
	uint8_t audit;   /* it passes only because the rule is audited */
	uint8_t borrowed; /* charged to the common room, not to the guarantee */
	uint8_t reserved[3];
};

struct bh_ledger_key {
	uint32_t compartment;
	uint32_t list;
	uint64_t place;
};

/* What a compartment has taken. Created with the compartment, shared by its endpoints. */
struct bh_share {
	uint64_t used[2];  /* by direction of the opener */
	uint64_t owned[2]; /* of these, charged to the guarantee; the others are borrowed */
	uint64_t head[BH_LISTS]; /* the oldest place that may be in use */
	uint64_t tail[BH_LISTS]; /* the next place to be given */
};

/* What all compartments together may borrow. */
struct bh_room {
	uint64_t borrowed;
	uint64_t capacity;
};

#define BH_EVICT_SCAN 64   /* places looked at for a flow to replace */
#define BH_EXPIRED_SCAN 4  /* of these, how many are held against the clock */
#define BH_NS 1000000000ULL

static inline uint64_t bh_flow_timeout(const struct bh_conf *conf, const struct bh_flow *flow,
                                       uint8_t protocol, uint8_t kind, uint8_t v6)
{
	uint32_t which = BH_TIMEOUT_OTHER;

	if (kind == BH_KIND_FRAGMENT)
		return 30 * BH_NS; /* Linux' ipfrag_time */
	if (protocol == BH_PROTO_TCP)
		which = flow->state == BH_FLOW_ESTABLISHED ? BH_TIMEOUT_ESTABLISHED
		        : flow->state == BH_FLOW_CLOSING  ? BH_TIMEOUT_CLOSING
		        : flow->state == BH_FLOW_RESET    ? BH_TIMEOUT_RESET
		                                          : BH_TIMEOUT_SYN;
	else if (protocol == BH_PROTO_UDP || protocol == BH_PROTO_UDPLITE)
		which = flow->state == BH_FLOW_OPENING ? BH_TIMEOUT_UDP : BH_TIMEOUT_UDP_ANSWERED;
	else if (protocol == (v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP))
		which = BH_TIMEOUT_ICMP;
	return conf->timeouts[which & 7] * BH_NS;
}

static inline bool bh_flow_expired(const struct bh_conf *conf, const struct bh_flow *flow,
                                   const struct bh_flow_key *key, uint64_t now)
{
	return now > flow->seen + bh_flow_timeout(conf, flow, key->protocol, key->kind, key->v6);
}

/* The row a packet belongs to. A reply has the key of its query. */
static inline void bh_flow_key_of(struct bh_flow_key *key, uint32_t endpoint,
                                  const struct bh_key *packet, uint16_t id)
{
	key->endpoint = endpoint;
	key->protocol = packet->protocol;
	key->kind = BH_KIND_FLOW;
	key->direction = 0;
	key->v6 = packet->v6;
	key->local = packet->local;
	key->remote = packet->remote;
	key->local_port = packet->local_port;
	key->remote_port = packet->remote_port;
	key->fragment_id = 0;
	if (bh_is_icmp(packet)) {
		uint8_t query = bh_icmp_query_of_reply(packet);

		key->local_port = query || bh_icmp_is_query(packet) ? id : packet->local_port & 0xff;
		key->remote_port = (uint16_t)((query ? query : bh_icmp_type(packet)) << 8 |
		                              (query ? !packet->direction : packet->direction));
	}
}

static inline void bh_fragment_key_of(struct bh_flow_key *key, uint32_t endpoint,
                                      const struct bh_packet *packet)
{
	key->endpoint = endpoint;
	key->protocol = packet->key.v6 ? 0 : packet->key.protocol;
	key->kind = BH_KIND_FRAGMENT;
	key->direction = packet->key.direction;
	key->v6 = packet->key.v6;
	key->local = packet->key.local;
	key->remote = packet->key.remote;
	key->local_port = 0;
	key->remote_port = 0;
	key->fragment_id = packet->fragment_id;
}

static inline uint32_t bh_flow_list_of(uint8_t protocol, uint8_t state, uint8_t opener)
{
	uint32_t kind = state == BH_FLOW_OPENING ? BH_LIST_HALF_OPEN : BH_LIST_ANSWERED;

	if (protocol == BH_PROTO_TCP && state == BH_FLOW_ANSWERED)
		kind = BH_LIST_HALF_OPEN;
	if (protocol == BH_PROTO_TCP && state == BH_FLOW_ESTABLISHED)
		kind = BH_LIST_ESTABLISHED;
	return kind + (opener & 1 ? BH_LIST_KINDS : 0);
}

/* The state after a packet. What is not TCP is answered once the other side has spoken. */
static inline __attribute__((always_inline)) uint8_t bh_flow_next_state(uint8_t protocol, uint8_t state, bool from_opener,
                                         uint8_t flags)
{
	if (protocol != BH_PROTO_TCP)
		return from_opener ? state : BH_FLOW_ANSWERED;
	if (state == BH_FLOW_RESET || flags & BH_TCP_RST)
		return BH_FLOW_RESET;
	if (state == BH_FLOW_CLOSING || flags & BH_TCP_FIN)
		return BH_FLOW_CLOSING;
	if (state == BH_FLOW_OPENING && !from_opener)
		return BH_FLOW_ANSWERED;
	if (state == BH_FLOW_ANSWERED && from_opener && !(flags & BH_TCP_SYN))
		return BH_FLOW_ESTABLISHED;
	return state;
}

static inline uint64_t bh_fetch_add(uint64_t *counter, uint64_t n)
{
	return __sync_fetch_and_add(counter, n);
}

/* Gives back what one flow was charged. */
static inline void bh_share_release(BH_CTX *ctx, struct bh_share *share, uint32_t opener,
                                    uint8_t borrowed)
{
	struct bh_room *room = bh_room(ctx);

	bh_fetch_add(&share->used[opener & 1], (uint64_t)-1);
	if (!borrowed)
		bh_fetch_add(&share->owned[opener & 1], (uint64_t)-1);
	else if (room)
		bh_fetch_add(&room->borrowed, (uint64_t)-1);
}

/* Forgets a flow and gives back its place. */
BH_GLOBAL int bh_flow_forget(BH_CTX *ctx, const struct bh_flow_key *key)
{
	BH_ENTER(ctx, key, 0);
	struct bh_flow *flow = bh_flow_find(ctx, key);
	struct bh_ledger_key place = {0, 0, 0};
	struct bh_share *share;
	uint8_t borrowed, opener;
	uint64_t at;

	if (!flow)
		return 0;
	borrowed = flow->borrowed;
	opener = flow->opener;
	at = flow->place;
	place.compartment = flow->compartment;
	place.list = BH_PLACE_LIST(at);
	place.place = BH_PLACE_NUMBER(at);
	share = bh_share_find(ctx, place.compartment);
	if (bh_flow_remove(ctx, key) || !share)
		return 0;
	bh_ledger_remove(ctx, &place);
	bh_share_release(ctx, share, opener, borrowed);
	return 1;
}

/* Forgets the flow of a row that the head has passed, or the row if its flow stands elsewhere by now. */
static inline void bh_flow_give_up(BH_CTX *ctx, const struct bh_ledger_key *place,
                                   const struct bh_flow_key *key)
{
	struct bh_flow *flow = bh_flow_find(ctx, key);

	if (flow && flow->place == BH_PLACE(place->place, place->list))
		bh_flow_forget(ctx, key);
	else
		bh_ledger_remove(ctx, place);
}

/* Inserts the row of a flow's place. Non-zero: no room. */
static inline int bh_ledger_enter(BH_CTX *ctx, struct bh_share *share, const struct bh_ledger_key *place,
                                  const struct bh_flow_key *key)
{
	if (bh_ledger_insert(ctx, place, key))
		return -12;
	/* An addition of nothing, for it is a barrier. */
	if (place->list < BH_LISTS && bh_fetch_add(&share->head[place->list], 0) > place->place)
		bh_flow_give_up(ctx, place, key);
	return 0;
}

/* Moves the head past a place without a row. Non-zero: this call did. */
static inline int bh_ledger_pass(struct bh_share *share, const struct bh_ledger_key *place)
{
	uint64_t at = place->place;

	return place->list < BH_LISTS && __sync_val_compare_and_swap(&share->head[place->list], at, at + 1) == at;
}

/* A search for a flow to give up, along one list. */
struct bh_eviction {
	BH_CTX *ctx;
	const struct bh_conf *conf;
	struct bh_share *share;
	uint64_t now;
	uint64_t head;
	uint32_t list;
	uint32_t any;    /* any flow will do; else only an expired one */
	uint32_t looked;
	uint32_t done;   /* one was forgotten */
};

/* Looks at the place `index` behind the head. Non-zero ends the search. */
static long bh_evict_place(uint32_t index, void *arg)
{
	struct bh_eviction *search = arg;
	struct bh_ledger_key place = {0, 0, 0};
	struct bh_share *share = search->share;
	struct bh_flow_key *key;
	struct bh_flow *flow;
	uint32_t list = search->list, passed = 0;
	uint64_t tail;

	if (list >= BH_LISTS || (!search->any && search->looked >= BH_EXPIRED_SCAN))
		return 1;
	tail = share->tail[list];
	place.compartment = search->conf->compartment;
	place.list = list;
	place.place = search->head + index;
	if (place.place >= tail)
		return 1;
	key = bh_ledger_find(search->ctx, &place);
	if (!key && tail - place.place > BH_EVICT_SCAN && bh_ledger_pass(share, &place)) {
		key = bh_ledger_find(search->ctx, &place);
		passed = 1;
	}
	if (!key)
		return 0;
	flow = bh_flow_find(search->ctx, key);
	if (!flow || flow->place != BH_PLACE(place.place, list)) {
		bh_ledger_remove(search->ctx, &place);
		return 0;
	}
	search->looked++;
	if (!passed && !search->any && !bh_flow_expired(search->conf, flow, key, search->now))
		return 0;
	if (!bh_flow_forget(search->ctx, key))
		return 0;
	search->done = 1;
	return 1;
}

/*
 * Looks at the oldest places of a list for a flow to give up: any, or only an expired one.
 * Returns 1 if one was forgotten.
 */
BH_GLOBAL int bh_evict_from(BH_CTX *ctx, const struct bh_conf *conf, uint32_t list,
                                     uint32_t any)
{
	BH_ENTER(ctx, conf, 0);
	struct bh_eviction search = {0};

	search.ctx = ctx;
	search.conf = conf;
	search.share = bh_share_find(ctx, conf->compartment);
	search.now = bh_now(ctx);
	search.list = list;
	search.any = any;
	if (!search.share || list >= BH_LISTS)
		return 0;
	search.head = search.share->head[list];
	bh_loop(BH_EVICT_SCAN, bh_evict_place, &search);
	return (int)search.done;
}

/* Makes a compartment give up one flow that was opened in this direction. 1 = done. */
static inline int bh_evict_opened(BH_CTX *ctx, const struct bh_conf *conf, uint32_t opener)
{
	for (uint32_t any = 0; any < 2; any++)
		for (uint32_t kind = 0; kind < BH_LIST_KINDS; kind++)
			if (bh_evict_from(ctx, conf, kind + (opener & 1 ? BH_LIST_KINDS : 0), any))
				return 1;
	return 0;
}

/* Rather its like; else for an outbound flow any, for an inbound one only an outbound one expired. */
static inline int bh_evict(BH_CTX *ctx, const struct bh_conf *conf, uint32_t opener)
{
	if (bh_evict_opened(ctx, conf, opener))
		return 1;
	if (opener == BH_OUT)
		return bh_evict_opened(ctx, conf, BH_IN);
	for (uint32_t list = BH_LIST_KINDS; list < BH_LISTS; list++)
		if (bh_evict_from(ctx, conf, list, 0))
			return 1;
	return 0;
}

/* Counts one more of a kind in, unless all or, of inbound ones, half of `limit` are there already. */
static inline bool bh_count_in(uint64_t *counts, uint32_t opener, uint32_t limit)
{
	uint64_t like = bh_fetch_add(&counts[opener & 1], 1), others = counts[!(opener & 1)];

	if (like + others < limit && (opener == BH_OUT || like < limit / 2))
		return true;
	bh_fetch_add(&counts[opener & 1], (uint64_t)-1);
	return false;
}

/*
 * Charges `flow` to the compartment's guarantee or, where that is full, to the room all share.
 * Non-zero: neither has a place.
 */
static inline int bh_share_take(BH_CTX *ctx, const struct bh_conf *conf, struct bh_share *share,
                                struct bh_flow *flow)
{
	uint32_t opener = flow->opener & 1;
	struct bh_room *room = bh_room(ctx);

	if (!room || !bh_count_in(share->used, opener, conf->flows_limit))
		return -1;
	flow->borrowed = !bh_count_in(share->owned, opener, conf->flows_guaranteed);
	if (!flow->borrowed || bh_fetch_add(&room->borrowed, 1) < room->capacity)
		return 0;
	bh_share_release(ctx, share, opener, 1);
	return -1;
}

/* The same; without a place the compartment gives up a flow of its own. */
static inline int bh_share_charge(BH_CTX *ctx, const struct bh_conf *conf, struct bh_share *share,
                                  struct bh_flow *flow)
{
	if (!bh_share_take(ctx, conf, share, flow))
		return 0;
	return bh_evict(ctx, conf, flow->opener & 1) ? bh_share_take(ctx, conf, share, flow) : -1;
}

/*
 * Takes the next place of a list. Places of flows that are gone are stepped over here, two a time,
 * so that the head keeps up however many of them there are.
 */
static inline uint64_t bh_ledger_claim(BH_CTX *ctx, struct bh_share *share, uint32_t compartment,
                                       uint32_t list)
{
	uint32_t which = list < BH_LISTS ? list : 0;
	struct bh_ledger_key place = {0, 0, 0};
	uint64_t tail = bh_fetch_add(&share->tail[which], 1);
	struct bh_flow_key *key;

	place.compartment = compartment;
	place.list = which;
	for (int i = 0; i < 2; i++) {
		place.place = share->head[which];
		if (tail < place.place + BH_EVICT_SCAN || bh_ledger_find(ctx, &place))
			break;
		key = bh_ledger_pass(share, &place) ? bh_ledger_find(ctx, &place) : (struct bh_flow_key *)0;
		if (key)
			bh_flow_give_up(ctx, &place, key);
	}
	return tail;
}

/* Adds a row for `flow`, charged and in its list. Non-zero: no room. */
BH_GLOBAL int bh_flow_start(BH_CTX *ctx, const struct bh_conf *conf, const struct bh_flow_key *key,
                            struct bh_flow *flow)
{
	BH_ENTER(ctx, conf && key && flow, -1);
	uint32_t list = bh_flow_list_of(key->protocol, flow->state, flow->opener);
	struct bh_share *share = bh_share_find(ctx, conf->compartment);
	struct bh_ledger_key place = {0, 0, 0};
	int rc;

	if (!share || bh_share_charge(ctx, conf, share, flow))
		return -1;
	place.compartment = conf->compartment;
	place.list = list;
	place.place = bh_ledger_claim(ctx, share, place.compartment, list);
	flow->compartment = conf->compartment;
	flow->place = BH_PLACE(place.place, list);
	rc = bh_flow_insert(ctx, key, flow);
	if (!rc && bh_ledger_enter(ctx, share, &place, key))
		rc = bh_flow_remove(ctx, key) ? 0 : -12;
	if (rc)
		bh_share_release(ctx, share, flow->opener, flow->borrowed);
	return rc == -17 ? 0 : rc; /* EEXIST: another CPU was first, with the same verdict */
}

/*
 * Moves a flow to the list its new state belongs to. Who loses the race leaves it to the winner. Since it was
 * found the flow may be gone and its memory another's, whose place is another too: so the place is read, then
 * the key is asked whose it was, and only that place is replaced.
 */
BH_GLOBAL int bh_flow_move(BH_CTX *ctx, struct bh_flow *flow, const struct bh_flow_key *key,
                           uint32_t list)
{
	BH_ENTER(ctx, flow && key, 0);
	struct bh_share *share = bh_share_find(ctx, flow->compartment);
	struct bh_ledger_key from = {0, 0, 0}, to = {0, 0, 0};
	uint64_t place = flow->place;

	if (!share || list >= BH_LISTS || BH_PLACE_LIST(place) == list || bh_flow_find(ctx, key) != flow)
		return 0;
	from.compartment = to.compartment = flow->compartment;
	from.list = BH_PLACE_LIST(place);
	from.place = BH_PLACE_NUMBER(place);
	to.list = list;
	to.place = bh_ledger_claim(ctx, share, flow->compartment, list);
	if (__sync_val_compare_and_swap(&flow->place, place, BH_PLACE(to.place, list)) != place)
		return 0;
	if (bh_ledger_enter(ctx, share, &to, key))
		bh_flow_forget(ctx, key); /* out of every list it could never be given up */
	else
		bh_ledger_remove(ctx, &from);
	return 0;
}

/* A packet of the flow was seen. */
static inline void bh_flow_touch(BH_CTX *ctx, struct bh_flow *flow, const struct bh_flow_key *key,
                                 uint8_t direction, uint8_t flags, uint64_t now)
{
	uint8_t state = flow->state, next;
	uint32_t list;

	next = bh_flow_next_state(key->protocol, state, direction == flow->opener, flags);
	if (state != BH_FLOW_RESET || key->protocol != BH_PROTO_TCP)
		flow->seen = now;
	flow->packets[direction & 1]++;
	if (next == state)
		return;
	flow->state = next;
	list = bh_flow_list_of(key->protocol, next, flow->opener);
	if (list != BH_PLACE_LIST(flow->place))
		bh_flow_move(ctx, flow, key, list);
}

#endif
