/*
 * notation.h - the one notation for a packet: read from people, built as a frame, written for them.
 *
 *   in tcp 10.0.0.9:51000 -> 172.16.0.2:80        flags as in tcp[SA], default [S]
 *   in icmp[8:0] 10.0.0.9 -> 172.16.0.2
 *   out udp [fd00::2]:5353 -> [ff02::fb]:5353
 *   in 47 10.0.0.9 -> 172.16.0.2
 */
#ifndef BH_FILTER_NOTATION_H
#define BH_FILTER_NOTATION_H

#include "packet.h"

#define BH_FRAME_MAX 256     /* bytes of the largest frame built here */
#define BH_NOTATION_TEXT 192 /* room for a packet in text, with its NUL */

struct bh_notation {
	uint8_t direction; /* enum bh_direction */
	uint8_t protocol;
	uint8_t tcp_flags;
	uint8_t icmp_type, icmp_code;
	struct bh_address source, target; /* of one family */
	uint16_t source_port, target_port;
};

/* -EINVAL with a sentence that names the part that does not parse and what would be right. */
int bh_notation_parse(struct bh_notation *packet, const char *text, struct bh_error *err);
/* Returns `text`, which has BH_NOTATION_TEXT bytes. */
char *bh_notation_format(const struct bh_notation *packet, char *text);
/* What a parsed IP packet looks like in notation; for ARP and others a few words. */
char *bh_notation_of_packet(const struct bh_packet *packet, char *text);

/*
 * The packet as an Ethernet frame with right lengths and checksums; returns its bytes, at most
 * BH_FRAME_MAX. ICMP queries carry identifier 1. An ICMP error carries the start of a UDP packet
 * from port 9 to port 9 of the addressed host; `neighbour` types carry a target and a link-layer
 * option that are the sender's own.
 */
uint32_t bh_notation_frame(const struct bh_notation *packet, const uint8_t source_mac[6],
                           const uint8_t target_mac[6], uint8_t frame[BH_FRAME_MAX]);

/* RFC 1071 over `size` bytes, continuing from `sum`; fold with bh_checksum_fold. */
uint32_t bh_checksum_add(uint32_t sum, const void *bytes, uint32_t size);
uint16_t bh_checksum_fold(uint32_t sum);

#endif
