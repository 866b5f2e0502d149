/*
 * sysctls.h - changes of the host's sysctls that can be taken back.
 *
 * The first value a sysctl had before it was changed is kept in the runtime directory, safely
 * written before the change. Restoring goes in the order of recording: writing `all` changes every
 * interface, so those that differed are recorded after it.
 *
 * States may share a namespace, and what one changed the other relies on. Whoever has a record, an
 * empty one too, holds; a holder that goes passes its record on to another that stays, and only the
 * last restores. All of that is done under one lock for all states.
 */
#ifndef BH_PLATFORM_LINUX_SYSCTLS_H
#define BH_PLATFORM_LINUX_SYSCTLS_H

#include "../../base/error.h"
#include "runtime.h"

/* The lock, until the descriptor is closed; -EBUSY after 10 s. */
int bh_sysctls_lock(const struct bh_runtime *runtime, struct bh_error *err);
/* Begins a record, if there is none. */
int bh_sysctls_hold(const struct bh_runtime *runtime, struct bh_error *err);

/* All in the current namespace. A path that does not exist is no error. */
int bh_sysctls_record(const struct bh_runtime *runtime, const char *path, struct bh_error *err);
/* Records, then writes, unless that is the value already. */
int bh_sysctls_change(const struct bh_runtime *runtime, const char *path, const char *value,
                      struct bh_error *err);
/* Calls for each; `visit` returns non-zero to stop, which is then returned. */
int bh_sysctls_each(const struct bh_runtime *runtime,
                    int (*visit)(const char *path, const char *value, void *arg), void *arg);
/* Forgets the record. What it holds is another holder's in the namespace from then on, whose state
 * is opened in `heir`, the caller's to close; without one (heir->directory is -1) all is restored. */
int bh_sysctls_release(const struct bh_runtime *runtime, int namespace, struct bh_runtime *heir,
                       struct bh_error *err);

#endif
