/*
 * chunks.h - where tables stand in the kernel: space in chunks, given out and taken back.
 *
 * A chunk is the value of an array map, mapped into memory to be written; it lies in one of three
 * arrays of maps, by size (maps.h). Many tables share a chunk, so publishing one costs no system call
 * that waits for the kernel's readers. An array of spots, mapped likewise, says which table has which
 * space. What a removed table had becomes a grave: packets in flight may still read it, so it is reused
 * only after a grace period, which is waited for when there is no other room. Those who change exclude
 * each other; who only reads may come at any time.
 */
#ifndef BH_GATE_CHUNKS_H
#define BH_GATE_CHUNKS_H

#include <stddef.h>

#include "../base/error.h"
#include "maps.h"

struct bh_known;

struct bh_chunks {
	int classes[BH_CHUNK_CLASSES]; /* descriptors, not owned */
	int map;                       /* of the spots, not owned */
	uint64_t *serial;              /* counts changes of them, whoever makes them */
	uint64_t *used;                /* how many were ever in use */
	struct bh_spot *spots;         /* mapped when needed, the first `seen`; owned */
	uint32_t seen;
	uint32_t next;                 /* where the next table that is asked for may be */
	struct bh_known *known;        /* as they were at `known_serial`; owned */
	uint64_t known_serial;
};

void bh_chunks_clear(struct bh_chunks *chunks);
/* Publishes a table, in place of one of that id, unless that is the same. -E2BIG, -ENOSPC: there is no room, and which. */
int bh_chunks_put(struct bh_chunks *chunks, uint32_t id, const void *bytes, uint32_t size,
                  struct bh_error *err);
/* No conf names the table any more. */
int bh_chunks_remove(struct bh_chunks *chunks, uint32_t id, struct bh_error *err);
/* Fills in where table ref->id is. -ENOENT. */
int bh_chunks_find(struct bh_chunks *chunks, struct bh_table_ref *ref, struct bh_error *err);
/* A copy of the table's bytes, the caller's to free(). */
int bh_chunks_read(struct bh_chunks *chunks, const struct bh_table_ref *ref, void **bytes,
                   struct bh_error *err);

#endif
