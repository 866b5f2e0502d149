/*
 * capture.h - one captured packet after another through a gate of its own.
 *
 * Split in two: capture.c reads and judges, replay.c is what Lua sees of it.
 */
#ifndef BH_BINDINGS_CAPTURE_H
#define BH_BINDINGS_CAPTURE_H

#include <pcap/pcap.h>

#include "../engine/base/hash.h"
#include "../engine/filter/evaluate.h"
#include "../engine/filter/packet.h"
#include "gate.h"

#define BH_REPLAY_FLOWS 1000000 /* conversations told apart; packets of later ones are only counted */

/* A conversation in the summary; ICMP replies have the ports of their query. */
struct bh_replay_key {
	struct bh_address local;
	struct bh_address remote;
	uint16_t local_port; /* ICMP: type << 8 | code */
	uint16_t remote_port;
	uint16_t ethertype;
	uint8_t protocol;
	uint8_t form; /* enum bh_form */
	uint8_t v6;
	uint8_t reserved[7];
};

struct bh_replay_flow {
	uint64_t first, last; /* ns since the epoch */
	uint64_t packets[2], bytes[2]; /* by direction */
	uint64_t dropped, audited;
	struct bh_verdict opened; /* the verdict on its first packet */
	struct bh_verdict worst;  /* on the first that was dropped, if any was */
	uint8_t opener;           /* enum bh_direction */
	uint8_t worst_direction;  /* of the first that was dropped */
	uint16_t local_port, remote_port; /* the opener's, as rules see them */
};

struct bh_replay {
	pcap_t *pcap;
	int link;
	uint64_t size; /* of the file, 0 = unknown */
	const struct bh_gate_object *gate; /* kept by a user value */
	struct bh_table *tables[2]; /* compiled here, where the gate has none; owned */
	struct bh_conf conf;
	struct bh_flow_table *flows;
	struct bh_hash *summary;
	uint8_t *frame; /* room for one that has to be put together */
	bool learned;   /* the MAC of WHO is known */
	bool learned_link_local;
	uint64_t now;         /* the gate's clock */
	uint64_t first, last; /* ns since the epoch */
	uint64_t packets, others, unlisted;
	struct bh_counters counters;
	char ending[160]; /* why the capture ends too early; "" = it does not */
};

/* The last packet that was judged. */
struct bh_replay_packet {
	uint64_t time;
	uint32_t size;
	enum bh_direction direction;
	struct bh_packet packet;
	struct bh_verdict verdict;
};

int bh_replay_open(struct bh_replay *replay, const char *path, struct bh_error *err);
/* Rules and addresses are the gate's; flows begin empty. */
int bh_replay_prepare(struct bh_replay *replay, const struct bh_gate_object *gate,
                      struct bh_error *err);
void bh_replay_clear(struct bh_replay *replay);
/* Judges the next packet that is from or to WHO; 1, or 0 at the end. */
int bh_replay_next(struct bh_replay *replay, struct bh_replay_packet *judged);
/* Source and target of the next IP packet, without judging; 1, or 0 at the end. */
int bh_replay_ends(struct bh_replay *replay, struct bh_address *source, struct bh_address *target);
/* How far it is, 0 to 1. */
double bh_replay_progress(const struct bh_replay *replay);

#endif
