/*
 * late.c - see late.h.
 */
#include "late.h"

#include <dlfcn.h>
#include <errno.h>

int bh_late_load(const char *soname, const char *const *names, void **functions, size_t count,
                 struct bh_error *err)
{
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return bh_error_set(err, -ENOENT, "the library %s is missing: %s", soname, dlerror());
	for (size_t i = 0; i < count; i++) {
		functions[i] = dlsym(library, names[i]);
		if (!functions[i])
			return bh_error_set(err, -ENOENT, "the library %s has no %s", soname, names[i]);
	}
	return 0;
}
