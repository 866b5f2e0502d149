/*
 * maps.c - lists the keys of the gate's maps: `NAME FIRST-WORD` a line.
 *
 *   maps DIRECTORY      of the pins
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void list(const char *name, int map)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	uint8_t key[512], next[512];
	bool more;

	if (bpf_obj_get_info_by_fd(map, &info, &size) || info.key_size > sizeof(key) || info.key_size < 4 ||
	    info.type == BPF_MAP_TYPE_ARRAY || info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return;
	more = !bpf_map_get_next_key(map, NULL, next);
	while (more) {
		uint32_t word;

		memcpy(key, next, info.key_size);
		memcpy(&word, key, 4);
		printf("%.*s %u\n", (int)strcspn(name, "-"), name, word);
		more = !bpf_map_get_next_key(map, key, next);
	}
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
			close(fd);
		}
	}
	closedir(pins);
	return 0;
}
