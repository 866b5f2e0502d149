/*
 * upgrade.c - see upgrade.h.
 */
#include "upgrade.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../filter/conf.h"

int bh_upgrade_other(const char *directory)
{
	DIR *pins = opendir(directory);
	struct dirent *entry;
	int other = 0, found;

	while (pins && (entry = readdir(pins)))
		if (sscanf(entry->d_name, "bh_gate_out-%d", &found) == 1 && found != BH_ABI && found > other)
			other = found;
	if (pins)
		closedir(pins);
	return other;
}

int bh_upgrade_refuse(int other, struct bh_error *err)
{
	if (other < BH_ABI)
		return bh_error_set(err, -EPROTO, "the gate is an earlier version's (layout %d, this one's is %d); "
		                    "`bulkhead reconcile` takes it over", other, BH_ABI);
	return bh_error_set(err, -EPROTO, "the gate was loaded by a later version of bulkhead (layout %d, this "
	                    "one knows %d); use that one, or `bulkhead reset` to begin anew", other, BH_ABI);
}

int bh_upgrade_unpin(const char *directory, bool all, struct bh_error *err)
{
	DIR *pins = opendir(directory);
	struct dirent *entry;
	char path[512];
	int rc = 0;

	if (!pins)
		return bh_error_errno(err, -errno, "cannot list '%s'", directory);
	while (!rc && (entry = readdir(pins))) {
		if (strncmp(entry->d_name, "bh_", 3) || (!all && bh_gate_has_pin(entry->d_name)))
			continue;
		snprintf(path, sizeof(path), "%s/%.64s", directory, entry->d_name);
		if (unlink(path) && errno != ENOENT)
			rc = bh_error_errno(err, -errno, "cannot remove '%s'", path);
	}
	closedir(pins);
	return rc;
}
