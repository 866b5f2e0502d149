/*
 * nftables.h - the library of nftables: runs commands of ours, and lists everybody's rules for those who
 * ask what they do to a packet. Both act in the current namespace.
 */
#ifndef BH_PLATFORM_LINUX_NFTABLES_H
#define BH_PLATFORM_LINUX_NFTABLES_H

#include "../../base/error.h"

/* Runs commands as one transaction; `what` is said to have been refused if it is. */
int bh_nftables_run(const char *commands, const char *what, struct bh_error *err);

/* The ruleset as libnftables' JSON, the caller's to free(). */
int bh_nftables_list(char **json, struct bh_error *err);

#endif
