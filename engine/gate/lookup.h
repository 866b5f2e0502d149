/*
 * lookup.h - the gate's rule lookup: tables in chunks. Included by eBPF programs, after what table.h
 * asks of them and after MAP.
 *
 * A chunk is the one value of an array map, inside an array of such maps: two lookups that the kernel
 * inlines give a plain pointer, and all that a table is made of is read behind it without a helper. A
 * chunk of each size has its own function, in which the size is a constant; the verifier checks each
 * once, by itself.
 */
#ifndef BH_GATE_LOOKUP_H
#define BH_GATE_LOOKUP_H

#include "../filter/table.h"
#include "maps.h"

#define CHUNKS(name_, size_, count_)                                      \
	struct {                                                              \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                         \
		__uint(max_entries, count_);                                      \
		__type(key, uint32_t);                                            \
		__array(values, struct {                                          \
			__uint(type, BPF_MAP_TYPE_ARRAY);                             \
			__uint(max_entries, 1);                                       \
			__uint(map_flags, BPF_F_MMAPABLE);                            \
			__uint(key_size, 4);                                          \
			__uint(value_size, size_);                                    \
		});                                                               \
	} name_ SEC(".maps");                                                 \
	static long name_##_far(uint32_t index, void *arg)                    \
	{                                                                     \
		return bh_scan_far(arg, (size_)-64);                              \
	}                                                                     \
	struct name_##_bytes {                                                \
		uint8_t bytes[size_];                                             \
	};                                                                    \
	BH_GLOBAL uint32_t name_##_leaf(const struct name_##_bytes *chunk, uint32_t leaf, uint32_t at, \
	                                uint64_t w0, uint64_t w1)             \
	{                                                                     \
		BH_REQUIRE(chunk, BH_NO_LABEL);                                   \
		struct bh_place place = {chunk->bytes, at};                       \
                                                                          \
		return bh_leaf_scan(&place, leaf, w0, w1, name_##_far, (size_)-64); \
	}                                                                     \
	static inline __attribute__((always_inline)) uint32_t name_##_call(const void *chunk, uint32_t leaf, uint32_t at, uint64_t w0, uint64_t w1) \
	{                                                                     \
		return name_##_leaf(chunk, leaf, at, w0, w1);                     \
	}                                                                     \
	static long name_##_step(uint32_t index, void *arg)                   \
	{                                                                     \
		return bh_run_step(arg, (size_)-64);                              \
	}                                                                     \
	BH_GLOBAL int name_##_find(const struct bh_table_ref *ref, const struct bh_key *key,  \
	                           struct bh_entry *entry)                    \
	{                                                                     \
		BH_REQUIRE(ref && key && entry, 0);                               \
		uint32_t zero = 0, index = ref->chunk & 0xffff;                   \
		struct bh_place place = {0, ref->at};                             \
		void *chunk = bpf_map_lookup_elem(&name_, &index);                \
                                                                          \
		if (!chunk)                                                       \
			return 0;                                                     \
		place.chunk = bpf_map_lookup_elem(chunk, &zero);                  \
		if (!place.chunk)                                                 \
			return 0;                                                     \
		return bh_place_lookup(&place, key, entry, name_##_call, name_##_step, (size_)-64); \
	}

CHUNKS(bh_chunks_1m, BH_CHUNK_1M, BH_CHUNKS_1M)
CHUNKS(bh_chunks_8m, BH_CHUNK_8M, BH_CHUNKS_8M)
CHUNKS(bh_chunks_64m, BH_CHUNK_64M, BH_CHUNKS_64M)

/* The winning entry of one table: 1, or 0 if none matches. */
static inline int table_find(const struct bh_table_ref *ref, const struct bh_key *key,
                             struct bh_entry *entry)
{
	if (!ref->id)
		return 0;
	switch (ref->chunk >> 16) {
	case 0:
		return bh_chunks_1m_find(ref, key, entry);
	case 1:
		return bh_chunks_8m_find(ref, key, entry);
	default:
		return bh_chunks_64m_find(ref, key, entry);
	}
}

#endif
