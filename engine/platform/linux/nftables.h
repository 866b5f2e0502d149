/*
 * nftables.h - everybody's nftables, as text, for those who ask what they do to a packet.
 */
#ifndef BH_PLATFORM_LINUX_NFTABLES_H
#define BH_PLATFORM_LINUX_NFTABLES_H

#include "../../base/error.h"

/* The ruleset of the current namespace as libnftables' JSON, the caller's to free(). */
int bh_nftables_list(char **json, struct bh_error *err);

#endif
