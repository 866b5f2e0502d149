/*
 * mapping.h - published ports: mappings in the table of networks, and who else wants the port.
 */
#ifndef BH_PLATFORM_LINUX_MAPPING_H
#define BH_PLATFORM_LINUX_MAPPING_H

#include "../platform.h"

struct bh_linux;

int bh_mapping_add(struct bh_platform *platform, const struct bh_mapping *mappings, size_t count,
                   struct bh_error *err);
int bh_mapping_remove(struct bh_platform *platform, const struct bh_mapping *mappings, size_t count,
                      struct bh_error *err);
int bh_mapping_check(struct bh_platform *platform, const struct bh_mapping *mapping,
                     struct bh_error *err);
/* In the default compartment's namespace: the host's loopback reaches a container only over an
 * interface that lets 127/8 out. */
int bh_mapping_localnet(struct bh_linux *self, const struct bh_mapping *mappings, size_t count,
                        struct bh_error *err);

#endif
