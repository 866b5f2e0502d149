/*
 * router.c - see router.h.
 *
 * A conversation has two tuples: that of the opener's packets as they come in, and that of the
 * answers as they come in. A packet of one leaves as the inverse of the other, which is translation
 * and its undoing in one. Fragments are forwarded, but not translated.
 */
#include "router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "../../filter/rule.h"
#include "memory.h"
#include "neighbour.h"

#define TRACKS_MAX 65536

/* A packet's ends as it comes in; a key of the hash map. An ICMP query has its identifier as both
 * ports, and an error has the tuple of an answer to what it is about. */
struct tuple {
	struct bh_address source, target;
	uint16_t source_port, target_port;
	uint8_t protocol, v6, reserved[2];
};

/* Half of a conversation: what the packets of one tuple become. The other half is the inverse of
 * `becomes`. */
struct track {
	struct tuple becomes;
	uint64_t seen; /* ns, of either half */
	bool opener;
	bool published; /* goes to another target than it was addressed to */
};

enum decision { REFUSED, PLAIN, MASQUERADED };

int bh_router_init(struct bh_router *router, struct bh_error *err)
{
	router->tracks = bh_hash_new(sizeof(struct tuple), sizeof(struct track));
	if (!router->tracks)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a router.");
	return 0;
}

void bh_router_clear(struct bh_router *router)
{
	bh_hash_free(&router->tracks);
	free(router->networks);
	free(router->pairs);
	free(router->mappings);
	memset(router, 0, sizeof(*router));
}

int bh_router_reset(struct bh_router *router, struct bh_error *err)
{
	struct bh_router fresh = {0};
	int rc = bh_router_init(&fresh, err);

	if (rc)
		return rc;
	bh_router_clear(router);
	*router = fresh;
	return 0;
}

int bh_router_apply(struct bh_platform *platform, const struct bh_uplink *uplink,
                    struct bh_error *err)
{
	struct bh_router *router = &((struct bh_memory *)platform)->router, next = *router;

	next.networks_count = uplink->switches_count;
	next.networks = calloc(uplink->switches_count + 1, sizeof(*next.networks));
	next.pairs_count = uplink->pairs_count;
	next.pairs = calloc(uplink->pairs_count + 1, sizeof(*next.pairs));
	next.mappings_count = uplink->mappings_count;
	next.mappings = calloc(uplink->mappings_count + 1, sizeof(*next.mappings));
	if (!next.networks || !next.pairs || !next.mappings) {
		free(next.networks);
		free(next.pairs);
		free(next.mappings);
		return bh_error_set(err, -ENOMEM, "There is not enough memory for the table of networks.");
	}
	for (size_t i = 0; i < uplink->switches_count; i++) {
		next.networks[i].id = uplink->switches[i].id;
		next.networks[i].driver = uplink->switches[i].driver;
	}
	if (uplink->pairs_count)
		memcpy(next.pairs, uplink->pairs, uplink->pairs_count * sizeof(*next.pairs));
	if (uplink->mappings_count)
		memcpy(next.mappings, uplink->mappings, uplink->mappings_count * sizeof(*next.mappings));
	free(router->networks);
	free(router->pairs);
	free(router->mappings);
	*router = next;
	return 0;
}

/* The driver of a routed network; BH_DRIVER_INTERNAL, which is closed, for one never applied. */
static enum bh_driver driver_of(const struct bh_router *router, uint32_t network)
{
	for (size_t i = 0; i < router->networks_count; i++)
		if (router->networks[i].id == network)
			return router->networks[i].driver;
	return BH_DRIVER_INTERNAL;
}

static bool is_pair(const struct bh_router *router, uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < router->pairs_count; i++) {
		const uint32_t *pair = router->pairs[i];

		if ((pair[0] == a && pair[1] == b) || (pair[0] == b && pair[1] == a))
			return true;
	}
	return false;
}

static bool is_closed(const struct bh_router *router, uint32_t network)
{
	enum bh_driver driver = driver_of(router, network);

	return network && (driver == BH_DRIVER_INTERNAL || driver == BH_DRIVER_OVERLAY);
}

/* Network 0 is the world. */
static enum decision decide(const struct bh_router *router, uint32_t from, uint32_t to, bool known)
{
	enum bh_driver source = driver_of(router, from), target = driver_of(router, to);

	if (from && to && from != to && is_pair(router, from, to))
		return PLAIN;
	if (is_closed(router, from) || is_closed(router, to))
		return REFUSED;
	if (from && to)
		return from == to && source == BH_DRIVER_NAT ? PLAIN : REFUSED;
	if (from)
		return source == BH_DRIVER_NAT ? MASQUERADED : REFUSED;
	return to && target == BH_DRIVER_NAT && known ? PLAIN : REFUSED;
}

static struct tuple inverse(const struct tuple *tuple)
{
	struct tuple other = *tuple;

	other.source = tuple->target;
	other.target = tuple->source;
	other.source_port = tuple->target_port;
	other.target_port = tuple->source_port;
	return other;
}

static bool is_error(const struct bh_packet *packet)
{
	return bh_is_icmp(&packet->key) && bh_icmp_is_error(&packet->key);
}

/* False: the packet names no conversation. */
static bool tuple_of(const struct bh_packet *packet, struct tuple *tuple)
{
	bool error = is_error(packet);
	const struct bh_key *key = error ? &packet->inner : &packet->key;
	uint16_t id = error ? packet->inner_id : packet->id;

	memset(tuple, 0, sizeof(*tuple));
	if (packet->fragment == BH_LATER || (error && !packet->has_inner))
		return false;
	tuple->source = key->remote;
	tuple->target = key->local;
	tuple->protocol = key->protocol;
	tuple->v6 = key->v6;
	if (bh_has_ports(key->protocol)) {
		tuple->source_port = key->remote_port;
		tuple->target_port = key->local_port;
	} else if (bh_is_icmp(key)) {
		if (!bh_icmp_is_query(key) && !bh_icmp_query_of_reply(key))
			return false;
		tuple->source_port = tuple->target_port = id;
	}
	return true;
}

/* As conntrack: 24 hours of TCP here, 180 seconds of anything else. */
static bool is_expired(const struct tuple *tuple, const struct track *track, uint64_t now)
{
	return now > track->seen + (tuple->protocol == BH_PROTO_TCP ? 86400 : 180) * BH_NS;
}

static void untrack(struct bh_router *router, const struct tuple *tuple, const struct track *track)
{
	struct tuple mine = *tuple, other = inverse(&track->becomes);

	bh_hash_remove(router->tracks, &mine);
	bh_hash_remove(router->tracks, &other);
}

static struct track *track_find(struct bh_router *router, const struct tuple *tuple, uint64_t now)
{
	struct track *track = bh_hash_find(router->tracks, tuple);

	if (track && is_expired(tuple, track, now)) {
		untrack(router, tuple, track);
		return NULL;
	}
	return track;
}

/* The half a packet belongs to. A query of the answering side is a conversation of its own. */
static struct track *track_of(struct bh_memory *memory, const struct bh_packet *packet,
                              const struct tuple *tuple)
{
	struct track *track = track_find(&memory->router, tuple, memory->now), *other;
	struct tuple back;

	if (!track)
		return NULL;
	if (bh_is_icmp(&packet->key) && !is_error(packet) &&
	    track->opener != (bh_icmp_is_query(&packet->key) != 0))
		return NULL;
	back = inverse(&track->becomes);
	other = bh_hash_find(memory->router.tracks, &back);
	if (!is_error(packet)) {
		track->seen = memory->now;
		if (other)
			other->seen = memory->now;
	}
	return track;
}

struct expired_search {
	uint64_t now;
	struct tuple tuple;
	struct track track;
};

static int is_old(const void *key, void *value, void *arg)
{
	struct expired_search *search = arg;

	search->tuple = *(const struct tuple *)key;
	search->track = *(const struct track *)value;
	return is_expired(&search->tuple, &search->track, search->now);
}

static bool track_add(struct bh_memory *memory, const struct tuple *original,
                      const struct tuple *becomes)
{
	struct bh_router *router = &memory->router;
	bool published = !bh_address_equal(&original->target, &becomes->target);
	struct track there = {*becomes, memory->now, true, published};
	struct track back = {inverse(original), memory->now, false, published};
	struct tuple reply = inverse(becomes);
	struct expired_search search = {.now = memory->now};

	while (bh_hash_count(router->tracks) >= 2 * TRACKS_MAX) {
		if (!bh_hash_each(router->tracks, is_old, &search))
			return false;
		untrack(router, &search.tuple, &search.track);
	}
	bh_hash_remove(router->tracks, original);
	if (bh_hash_insert(router->tracks, original, &there))
		return false;
	if (bh_hash_insert(router->tracks, &reply, &back)) {
		bh_hash_remove(router->tracks, original);
		return false;
	}
	return true;
}

/* Whether answers to `tuple` would be taken for another's. */
static bool is_taken(struct bh_memory *memory, const struct tuple *tuple)
{
	struct tuple reply = inverse(tuple);
	struct bh_conversation own = {tuple->source, tuple->target, tuple->source_port,
	                              tuple->target_port};
	struct bh_listener listener = {tuple->protocol, tuple->source_port};

	return track_find(&memory->router, &reply, memory->now) ||
	       (tuple->protocol == BH_PROTO_TCP && bh_hash_find(memory->host->conversations, &own)) ||
	       bh_hash_find(memory->host->listeners, &listener);
}

/* Gives the tuple the uplink's address, and its own port if that is free. */
static bool masquerade(struct bh_memory *memory, const struct bh_port *out, struct tuple *tuple)
{
	bool icmp = tuple->protocol == (tuple->v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP);

	if (!bh_port_source(out, &tuple->target, &tuple->source))
		return false;
	for (int i = 0; is_taken(memory, tuple); i++) {
		if (i == 65535 || (!icmp && !bh_has_ports(tuple->protocol)))
			return false;
		tuple->source_port = tuple->source_port == 65535 ? 1024 : tuple->source_port + 1;
		if (icmp)
			tuple->target_port = tuple->source_port;
	}
	return true;
}

static void set_ports(uint8_t *transport, const struct tuple *tuple)
{
	if (bh_has_ports(tuple->protocol)) {
		bh_put16(transport, tuple->source_port);
		bh_put16(transport + 2, tuple->target_port);
	} else if (tuple->protocol == (tuple->v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP)) {
		bh_put16(transport + 4, tuple->source_port);
	}
}

/* Makes a packet of tuple `from` one of `to`. */
static void translate(struct bh_frame *frame, const struct bh_packet *packet,
                      const struct tuple *from, const struct tuple *to)
{
	uint8_t *transport = frame->bytes + bh_frame_transport(frame), *ip = transport + 8;
	struct tuple inner = inverse(to);

	bh_frame_set_address(frame, false, &to->target);
	if (!is_error(packet)) {
		bh_frame_set_address(frame, true, &to->source);
		set_ports(transport, to);
	} else {
		/* A router on the way speaks in its own name. */
		if (bh_address_equal(&packet->key.remote, &from->source))
			bh_frame_set_address(frame, true, &to->source);
		bh_ip_set_address(ip, true, &inner.source);
		bh_ip_set_address(ip, false, &inner.target);
		set_ports(ip + (to->v6 ? 40 : (ip[0] & 15) * 4), &inner);
		if (!to->v6) {
			bh_put16(ip + 10, 0);
			bh_put16(ip + 10, bh_checksum_fold(bh_checksum_add(0, ip, (uint32_t)(ip[0] & 15) * 4)));
		}
	}
}

/* Sends a copy on, by a port or to the host itself. */
static void forward(struct bh_memory *memory, const struct bh_frame *frame,
                    const struct bh_packet *packet, const struct tuple *from,
                    const struct tuple *to)
{
	struct bh_frame *copy;
	struct bh_address target, hop;
	struct bh_port *out;

	copy = packet->ttl > 1 ? bh_frame_copy(frame) : NULL;
	if (!copy)
		return;
	if (from)
		translate(copy, packet, from, to);
	copy->bytes[14 + (packet->key.v6 ? 7 : 8)]--;
	bh_frame_sum(copy);
	target = bh_frame_address(copy, false);
	if (bh_stack_owns(memory->host, &target)) {
		copy->port = NULL;
		copy->stack = memory->host;
		bh_segment_queue(memory, copy);
		return;
	}
	out = bh_stack_route(memory->host, &target, &hop);
	if (!out) {
		free(copy);
		return;
	}
	memcpy(copy->bytes + 6, out->nic.mac, 6);
	bh_neighbour_send(out, &hop, copy);
}

/* The mapping of what is sent to an address of the host. As on Linux, ::1 cannot be translated. */
static const struct bh_mapping *mapping_of(const struct bh_router *router, const struct tuple *to)
{
	if (!bh_address_is_v4(&to->target) && bh_address_is_loopback(&to->target))
		return NULL;
	for (size_t i = 0; i < router->mappings_count; i++) {
		const struct bh_mapping *mapping = &router->mappings[i];

		if (mapping->protocol == to->protocol && mapping->port == to->target_port &&
		    bh_address_is_v4(&mapping->target) == bh_address_is_v4(&to->target) &&
		    (bh_address_is_unspecified(&mapping->address) ||
		     bh_address_equal(&mapping->address, &to->target)))
			return mapping;
	}
	return NULL;
}

/* A conversation's first packet for a published port; `in` NULL: it is the host's own. */
static void open_published(struct bh_memory *memory, const struct bh_port *in,
                           const struct bh_frame *frame, const struct bh_packet *packet,
                           const struct tuple *from, const struct bh_mapping *mapping)
{
	struct tuple to = *from;
	struct bh_address hop;
	struct bh_port *out;

	to.target = mapping->target;
	to.target_port = mapping->target_port;
	out = bh_stack_route(memory->host, &to.target, &hop);
	if (!out || out->segment->what.id != mapping->network)
		return;
	/* An answer must come back by us: not so to a neighbour, or to an address that is everyone's. */
	if (((in && in->segment == out->segment) || bh_address_is_loopback(&from->source)) &&
	    !masquerade(memory, out, &to))
		return;
	if (track_add(memory, from, &to))
		forward(memory, frame, packet, from, &to);
}

bool bh_router_output(struct bh_memory *memory, const struct bh_frame *frame)
{
	const struct bh_mapping *mapping;
	struct bh_packet packet;
	struct tuple from;
	struct track *track;

	if (!memory->router.mappings_count || !bh_frame_parse(frame, &packet) ||
	    packet.form != BH_FORM_IP || packet.fragment != BH_WHOLE || !tuple_of(&packet, &from))
		return false;
	track = track_of(memory, &packet, &from);
	if (track) {
		forward(memory, frame, &packet, &from, &track->becomes);
		return true;
	}
	mapping = is_error(&packet) ? NULL : mapping_of(&memory->router, &from);
	if (mapping)
		open_published(memory, NULL, frame, &packet, &from, mapping);
	return mapping != NULL;
}

/* For the host itself and no part of a conversation: true if a published port took it. */
static bool input_published(struct bh_memory *memory, const struct bh_port *port,
                            const struct bh_frame *frame, const struct bh_packet *packet,
                            const struct tuple *from)
{
	const struct bh_mapping *mapping = is_error(packet) ? NULL : mapping_of(&memory->router, from);

	if (!mapping || packet->fragment != BH_WHOLE || is_closed(&memory->router, port->segment->what.id))
		return false;
	open_published(memory, port, frame, packet, from, mapping);
	return true;
}

bool bh_router_input(struct bh_memory *memory, struct bh_port *port, const struct bh_frame *frame,
                     const struct bh_packet *packet)
{
	struct tuple from, to;
	bool named = tuple_of(packet, &from), translated;
	struct track *track = named ? track_of(memory, packet, &from) : NULL;
	const struct bh_address *target = track ? &track->becomes.target : &packet->key.local;
	enum decision decision;
	struct bh_address hop;
	struct bh_port *out;

	if (!track && bh_stack_owns(memory->host, target))
		return named && input_published(memory, port, frame, packet, &from);
	if (bh_address_is_link_local6(target) || bh_address_is_link_local6(&packet->key.remote))
		return false;
	if (track && bh_stack_owns(memory->host, target)) {
		if (packet->fragment == BH_WHOLE)
			forward(memory, frame, packet, &from, &track->becomes);
		return true;
	}
	out = bh_stack_route(memory->host, target, &hop);
	decision = track && track->published ? PLAIN
	           : out ? decide(&memory->router, port->segment->what.id, out->segment->what.id, track)
	               : REFUSED;
	if (decision == REFUSED)
		return true;
	to = track ? track->becomes : from;
	if (!track && decision == MASQUERADED && (!named || is_error(packet) ||
	                                          !masquerade(memory, out, &to)))
		return true;
	translated = named && memcmp(&from, &to, sizeof(to));
	if (translated && packet->fragment != BH_WHOLE)
		return true;
	if (!track && named && !is_error(packet) && !track_add(memory, &from, &to))
		return true;
	forward(memory, frame, packet, translated ? &from : NULL, &to);
	return true;
}

bool bh_router_intact(struct bh_platform *platform)
{
	(void)platform;
	return true;
}

int bh_router_publish(struct bh_platform *platform, const struct bh_mapping *mappings, size_t count,
                      struct bh_error *err)
{
	struct bh_router *router = &((struct bh_memory *)platform)->router;
	struct bh_mapping *all = realloc(router->mappings,
	                                 (router->mappings_count + count + 1) * sizeof(*all));

	if (!all)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for published ports.");
	memcpy(all + router->mappings_count, mappings, count * sizeof(*all));
	router->mappings = all;
	router->mappings_count += count;
	return 0;
}

struct target_search {
	const struct bh_address *target;
	struct tuple tuple;
	struct track track;
};

static int is_published_to(const void *key, void *value, void *arg)
{
	struct target_search *search = arg;

	search->tuple = *(const struct tuple *)key;
	search->track = *(const struct track *)value;
	return search->track.published && search->track.opener &&
	       bh_address_equal(&search->track.becomes.target, search->target);
}

int bh_router_unpublish(struct bh_platform *platform, const struct bh_mapping *mappings,
                        size_t count, struct bh_error *err)
{
	struct bh_router *router = &((struct bh_memory *)platform)->router;

	(void)err;
	for (size_t i = 0; i < count; i++) {
		struct target_search search = {.target = &mappings[i].target};

		for (size_t j = 0; j < router->mappings_count; j++) {
			struct bh_mapping *known = &router->mappings[j];

			if (known->protocol == mappings[i].protocol && known->port == mappings[i].port &&
			    bh_address_equal(&known->address, &mappings[i].address) &&
			    bh_address_equal(&known->target, &mappings[i].target))
				router->mappings[j--] = router->mappings[--router->mappings_count];
		}
		while (bh_hash_each(router->tracks, is_published_to, &search))
			untrack(router, &search.tuple, &search.track);
	}
	return 0;
}

int bh_router_check(struct bh_platform *platform, const struct bh_mapping *mapping,
                    struct bh_error *err)
{
	struct bh_memory *memory = (struct bh_memory *)platform;
	struct bh_listener listener = {mapping->protocol, mapping->port};
	char text[BH_ADDRESS_TEXT], protocol[8];

	if (!bh_address_is_unspecified(&mapping->address) &&
	    !bh_stack_owns(memory->host, &mapping->address))
		return bh_error_set(err, -EADDRNOTAVAIL,
		                    "%s is no address of this host, so port %u of it cannot be published",
		                    bh_address_format(&mapping->address, text), mapping->port);
	if (bh_hash_find(memory->host->listeners, &listener))
		return bh_error_set(err, -EADDRINUSE, "host port %u/%s is taken by a listening socket",
		                    mapping->port, bh_protocol_format(mapping->protocol, protocol));
	return 0;
}
