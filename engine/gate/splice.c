/*
 * splice.c - one way from an interface to another, a redirect. See gate.h.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "gate.h"

static const _Alignas(8) unsigned char splice_object[] = {
#include "engine/gate/splice.bpf.inc"
};

int bh_gate_splice(unsigned to, struct bh_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bh_splice");
	struct bpf_object *object = bpf_object__open_mem(splice_object, sizeof(splice_object), &opts);
	struct bpf_map *map;
	int rc = 0;

	if (!object)
		return bh_error_errno(err, -errno, "cannot open the splice program");
	bpf_object__for_each_map(map, object)
		if (strstr(bpf_map__name(map), ".rodata"))
			rc = bpf_map__set_initial_value(map, &to, sizeof(to));
	if (!rc)
		rc = bpf_object__load(object);
	if (!rc)
		rc = fcntl(bpf_program__fd(bpf_object__find_program_by_name(object, "bh_splice")), F_DUPFD_CLOEXEC, 0);
	rc = rc == -1 ? -errno : rc;
	bpf_object__close(object);
	return rc < 0 ? bh_error_errno(err, rc, "cannot load the splice program") : rc;
}
