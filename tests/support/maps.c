/*
 * maps.c - lists what the gate's maps hold: `NAME KEY VALUE` a line, the first word of each. Of the room
 * for flows it says for how many compartments it is held back: `guarantees N 0`.
 *
 *   maps DIRECTORY      of the pins
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../engine/gate/gate.h"
#include "../../engine/gate/maps.h"

static void list_room(int map)
{
	struct bh_room room;
	uint32_t zero = 0;

	if (!bpf_map_lookup_elem(map, &zero, &room))
		printf("guarantees %llu 0\n",
		       (unsigned long long)(BH_FLOWS_MAX - room.capacity) / BH_FLOWS_GUARANTEED);
}

/* By the ids of their tables. */
static void list_spots(int map)
{
	const struct bh_spot *spots = mmap(NULL, BH_TABLES_MAX * sizeof(*spots), PROT_READ, MAP_SHARED, map, 0);

	for (uint32_t slot = 0; spots != MAP_FAILED && slot < BH_TABLES_MAX; slot++)
		if (spots[slot].id && spots[slot].id != BH_GRAVE)
			printf("bh_spots %u %u\n", spots[slot].id, spots[slot].chunk);
}

static void list(const char *name, int map)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	uint8_t key[512], next[512];
	void *value;
	bool more;

	if (bpf_obj_get_info_by_fd(map, &info, &size) || info.key_size > sizeof(key) || info.key_size < 4 ||
	    info.type == BPF_MAP_TYPE_ARRAY || info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return;
	value = calloc((size_t)libbpf_num_possible_cpus(), (info.value_size + 7) & ~7u);
	if (!value)
		return;
	more = !bpf_map_get_next_key(map, NULL, next);
	while (more) {
		uint32_t word, first = 0;

		memcpy(key, next, info.key_size);
		memcpy(&word, key, 4);
		if (!bpf_map_lookup_elem(map, key, value))
			memcpy(&first, value, 4);
		printf("%.*s %u %u\n", (int)strcspn(name, "-"), name, word, first);
		more = !bpf_map_get_next_key(map, key, next);
	}
	free(value);
}

int main(int argc, char **argv)
{
	DIR *pins = argc == 2 ? opendir(argv[1]) : NULL;
	struct dirent *entry;

	if (!pins)
		return 1;
	while ((entry = readdir(pins))) {
		char path[512];
		int fd;

		if (entry->d_name[0] == '.' || strstr(entry->d_name, "_gate_"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0) {
			list(entry->d_name, fd);
			if (!strncmp(entry->d_name, "bh_rooms", 8))
				list_room(fd);
			if (!strncmp(entry->d_name, "bh_spots", 8))
				list_spots(fd);
			close(fd);
		}
	}
	closedir(pins);
	return 0;
}
