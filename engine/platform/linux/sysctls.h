/*
 * sysctls.h - changes of the host's sysctls that can be taken back.
 *
 * The first value a sysctl had before it was changed is kept in the runtime directory, safely
 * written before the change. Restoring goes in the order of recording: writing `all` changes every
 * interface, so those that differed are recorded after it.
 */
#ifndef BH_PLATFORM_LINUX_SYSCTLS_H
#define BH_PLATFORM_LINUX_SYSCTLS_H

#include "../../base/error.h"
#include "runtime.h"

/* All in the current namespace. A path that does not exist is no error. */
int bh_sysctls_record(const struct bh_runtime *runtime, const char *path, struct bh_error *err);
/* Records, then writes, unless that is the value already. */
int bh_sysctls_change(const struct bh_runtime *runtime, const char *path, const char *value,
                      struct bh_error *err);
/* Restores all that is recorded and forgets it. */
int bh_sysctls_restore(const struct bh_runtime *runtime, struct bh_error *err);

#endif
