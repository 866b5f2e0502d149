/*
 * neighbour.h - who has an address on a segment: ARP and neighbour discovery, over the wire.
 *
 * Requests and answers pass the gates like everything else, so their verdicts are exercised by
 * every first packet.
 */
#ifndef BH_PLATFORM_MEMORY_NEIGHBOUR_H
#define BH_PLATFORM_MEMORY_NEIGHBOUR_H

#include "segment.h"

/* Sends a packet to the neighbour `hop`, asking for its MAC first if need be. Takes the frame. */
void bh_neighbour_send(struct bh_port *port, const struct bh_address *hop, struct bh_frame *frame);
/* An ARP packet, a solicitation or an advertisement came in. */
void bh_neighbour_arp(struct bh_port *port, const struct bh_packet *packet);
void bh_neighbour_nd(struct bh_port *port, const struct bh_packet *packet);
bool bh_neighbour_is(const struct bh_packet *packet);

#endif
