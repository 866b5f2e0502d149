/*
 * splice.c - joins two interfaces by a redirect in each. See gate.h.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "attach.h"
#include "gate.h"

static const _Alignas(8) unsigned char splice_object[] = {
#include "engine/gate/splice.bpf.inc"
};

/* Loads an instance that sends to `to` and attaches it to the ingress of `from`. */
static int splice_one_way(unsigned from, unsigned to, struct bh_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bh_splice");
	struct bpf_object *object = bpf_object__open_mem(splice_object, sizeof(splice_object), &opts);
	struct bpf_program *program;
	struct bpf_map *map;
	int rc;

	if (!object)
		return bh_error_errno(err, -errno, "cannot open the splice program");
	rc = 0;
	bpf_object__for_each_map(map, object)
		if (strstr(bpf_map__name(map), ".rodata"))
			rc = bpf_map__set_initial_value(map, &to, sizeof(to));
	if (!rc)
		rc = bpf_object__load(object);
	if (rc) {
		bpf_object__close(object);
		return bh_error_errno(err, rc, "cannot load the splice program");
	}
	program = bpf_object__find_program_by_name(object, "bh_splice");
	rc = bh_attach_program(from, BPF_TC_INGRESS, bpf_program__fd(program), err);
	bpf_object__close(object);
	return rc;
}

int bh_gate_splice(unsigned a, unsigned b, struct bh_error *err)
{
	int rc = splice_one_way(a, b, err);

	return rc ? rc : splice_one_way(b, a, err);
}
