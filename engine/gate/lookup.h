/*
 * lookup.h - the gate's rule lookup: tables in chunks. Included by eBPF programs, after what table.h
 * asks of them.
 *
 * A chunk is the one value of an array map, inside an array of such maps: two lookups that the kernel
 * inlines give a plain pointer, and all that a table is made of is read behind it without a helper. A
 * chunk of each size has its own text, in which the size is a constant. On the usual way nothing is
 * called: where processors are mitigated against speculation by returns, each costs as much as a node.
 */
#ifndef BH_GATE_LOOKUP_H
#define BH_GATE_LOOKUP_H

#include "../filter/table.h"
#include "maps.h"

#define CHUNKS(name_, size_, count_)                                                              \
	struct {                                                                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                 \
		__uint(max_entries, count_);                                                              \
		__type(key, uint32_t);                                                                    \
		__array(values, struct {                                                                  \
			__uint(type, BPF_MAP_TYPE_ARRAY);                                                     \
			__uint(max_entries, 1);                                                               \
			__uint(map_flags, BPF_F_MMAPABLE);                                                    \
			__uint(key_size, 4);                                                                  \
			__uint(value_size, size_);                                                            \
		});                                                                                       \
	} name_ SEC(".maps");                                                                         \
	struct name_##_bytes {                                                                        \
		uint8_t bytes[size_];                                                                     \
	};                                                                                            \
	static long name_##_scan_step(uint32_t index, void *arg)                                      \
	{                                                                                             \
		return bh_scan_step(arg, (size_)-64);                                                     \
	}                                                                                             \
	BH_GLOBAL uint32_t name_##_scan(const struct name_##_bytes *chunk, uint32_t leaf, uint32_t at, \
	                                uint64_t local, uint64_t remote)                              \
	{                                                                                             \
		BH_REQUIRE(chunk, 0);                                                                     \
		struct bh_place place = {chunk->bytes, at};                                               \
                                                                                                  \
		return bh_scan_far(&place, leaf, local, remote, name_##_scan_step, (size_)-64);           \
	}                                                                                             \
	BH_INLINE uint32_t name_##_far(const void *chunk, uint32_t leaf, uint32_t at, uint64_t local, \
	                                   uint64_t remote)                                           \
	{                                                                                             \
		return name_##_scan(chunk, leaf, at, local, remote);                                      \
	}                                                                                             \
	static long name_##_run_step(uint32_t index, void *arg)                                       \
	{                                                                                             \
		return bh_run_step(arg, (size_)-64);                                                      \
	}                                                                                             \
	BH_GLOBAL uint32_t name_##_run(const struct name_##_bytes *chunk, uint32_t blocks, uint32_t count, \
	                               const struct bh_key *key)                                      \
	{                                                                                             \
		BH_REQUIRE(chunk && key, BH_NO_LABEL);                                                    \
		struct bh_place place = {chunk->bytes, blocks};                                           \
                                                                                                  \
		return bh_run_first(&place, count, key, name_##_run_step);                                \
	}                                                                                             \
	BH_INLINE uint32_t name_##_blocks(const void *chunk, uint32_t blocks, uint32_t count,         \
	                                      const struct bh_key *key)                               \
	{                                                                                             \
		return name_##_run(chunk, blocks, count, key);                                            \
	}                                                                                             \
	BH_GLOBAL uint64_t name_##_ranks(const struct name_##_bytes *chunk, uint32_t at, uint32_t domain, \
	                                 const struct bh_key *key)                                    \
	{                                                                                             \
		BH_REQUIRE(chunk && key, 0);                                                              \
		struct bh_place place = {chunk->bytes, at};                                               \
                                                                                                  \
		return bh_ranks_of(&place, domain, key, (size_)-64);                                      \
	}                                                                                             \
	BH_INLINE uint64_t name_##_search(const void *chunk, uint32_t at, uint32_t domain,            \
	                                const struct bh_key *key)                                     \
	{                                                                                             \
		return name_##_ranks(chunk, at, domain, key);                                             \
	}                                                                                             \
	BH_INLINE const struct bh_entry *name_##_find(const struct bh_table_ref *ref, const struct bh_key *key) \
	{                                                                                             \
		uint32_t zero = 0, index = ref->chunk & 0xffff;                                           \
		struct bh_place place = {0, ref->at};                                                     \
		void *chunk = bpf_map_lookup_elem(&name_, &index);                                        \
                                                                                                  \
		if (!chunk)                                                                               \
			return 0;                                                                             \
		place.chunk = bpf_map_lookup_elem(chunk, &zero);                                          \
		if (!place.chunk)                                                                         \
			return 0;                                                                             \
		return bh_place_lookup(&place, key, name_##_search, name_##_far, name_##_blocks, (size_)-64); \
	}

CHUNKS(bh_chunks_1m, BH_CHUNK_1M, BH_CHUNKS_1M)
CHUNKS(bh_chunks_8m, BH_CHUNK_8M, BH_CHUNKS_8M)
CHUNKS(bh_chunks_64m, BH_CHUNK_64M, BH_CHUNKS_64M)

/* The winning entry of one table, where it stands; or 0 if none matches. */
BH_INLINE const struct bh_entry *table_find(const struct bh_table_ref *ref, const struct bh_key *key)
{
	uint32_t class = ref->chunk >> 16;

	if (!ref->id)
		return 0;
	if (class == 0)
		return bh_chunks_1m_find(ref, key);
	if (class == 1)
		return bh_chunks_8m_find(ref, key);
	return bh_chunks_64m_find(ref, key);
}

#endif
