/*
 * runtime.h - the directory that holds a state's kernel objects by name: /run/bulkhead/<tag>/.
 *
 *   default, switch, c<ID>   network namespaces, bind-mounted as `ip netns` does
 *   bpf/                     a bpffs of our own, for the gate's pins
 *   sysctls                  what they were before we changed them
 *
 * Mounts exist per mount namespace, and hooks are called in whatever mount namespace their runtime
 * has. So there is one that counts: that of pid 1, or, where pid 1 is out of our reach (its
 * capabilities exceed ours), that of the outermost ancestor that is not. Its directory is held by a
 * descriptor, through which paths resolve in *its* mount namespace; to mount there, which the
 * kernel allows only from within, a child goes.
 *
 * The directory is a mount of its own and private: a namespace bound in it is not copied to the
 * containers that are running, and unlinking a mount point drops the copies that later ones took.
 */
#ifndef BH_PLATFORM_LINUX_RUNTIME_H
#define BH_PLATFORM_LINUX_RUNTIME_H

#include <stdbool.h>

#include "../../base/error.h"

struct bh_runtime {
	char path[32];  /* /run/bulkhead/<tag> */
	int mounts;     /* the mount namespace that counts; -1 = it is ours */
	int root;       /* O_PATH of its root */
	int directory;  /* of `path`; -1 = not made */
};

/* With `make` false, `directory` stays -1 if nothing is there. */
int bh_runtime_open(struct bh_runtime *runtime, const char *tag, bool make, struct bh_error *err);
void bh_runtime_close(struct bh_runtime *runtime);

/* A descriptor of the directory that all states' are in, or a negative errno. */
int bh_runtime_top(const struct bh_runtime *runtime);
/* Calls for the tag of each state that has a directory; `visit` returns non-zero to stop, which is
 * then returned. */
int bh_runtime_states(const struct bh_runtime *runtime, int (*visit)(const char *tag, void *arg),
                      void *arg);

/* A descriptor of the network namespace bound as `name`; -ENOENT if there is none. */
int bh_runtime_namespace(const struct bh_runtime *runtime, const char *name);
/* Binds it; a mount point a crash left is used. */
int bh_runtime_bind(const struct bh_runtime *runtime, const char *name, int namespace,
                    struct bh_error *err);
/* Unmounts whatever is on `name` and removes it; what is gone is success. */
int bh_runtime_unbind(const struct bh_runtime *runtime, const char *name, struct bh_error *err);

/* The gate's directory as a path that works here; with `make` mounted if need be, else -ENOENT. */
int bh_runtime_bpf(const struct bh_runtime *runtime, bool make, char *path, unsigned size,
                   struct bh_error *err);

/* Unmounts and removes everything in the directory but `keep` (NULL = nothing). */
int bh_runtime_clear(struct bh_runtime *runtime, const char *keep, struct bh_error *err);
/* Unmounts and removes everything, the directory too, and closes it. */
int bh_runtime_remove(struct bh_runtime *runtime, struct bh_error *err);

#endif
