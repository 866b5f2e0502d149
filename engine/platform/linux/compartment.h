/*
 * compartment.h - compartments: network namespaces with a name in the runtime directory.
 */
#ifndef BH_PLATFORM_LINUX_COMPARTMENT_H
#define BH_PLATFORM_LINUX_COMPARTMENT_H

#include "../platform.h"

int bh_compartment_create(struct bh_platform *platform, uint32_t id, const char *adopt,
                          struct bh_error *err);
int bh_compartment_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err);
int bh_compartment_cookie(struct bh_platform *platform, uint32_t id, const char *path,
                          uint64_t *cookie, struct bh_error *err);
void bh_compartment_path(struct bh_platform *platform, uint32_t id, char *path, size_t size);
int bh_compartment_open(struct bh_platform *platform, uint32_t id, struct bh_error *err);

#endif
