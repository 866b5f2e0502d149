/*
 * upgrade.h - what another version of the gate has pinned in our directory.
 *
 * Every pin ends in the number of its layout. An older set is taken over while its programs go on
 * deciding: the new set is loaded and pinned beside it (with the maps whose layout is still the same,
 * flows above all), filled, and put on one port after the other, each at once for every packet; then the
 * older pins go, and with them the marks that say it is not done yet. Killed in between, it is done
 * again. A later version's set is refused.
 */
#ifndef BH_GATE_UPGRADE_H
#define BH_GATE_UPGRADE_H

#include <stdbool.h>

#include "../base/error.h"

#define BH_PIN_NAME 48

/* Whether this version's set has a pin of this name (gate.c). */
bool bh_gate_has_pin(const char *entry);

/* The layout of another version's programs in the directory, the latest of several; 0 = none. */
int bh_upgrade_other(const char *directory);
/* -EPROTO, and what to do about it. */
int bh_upgrade_refuse(int other, struct bh_error *err);
/* Removes the pins that are not this version's or, with `all`, every pin; the kernel frees the rest with
 * the last port. */
int bh_upgrade_unpin(const char *directory, bool all, struct bh_error *err);

#endif
