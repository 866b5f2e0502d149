/*
 * attach.c - see attach.h.
 */
#include "attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "../base/log.h"

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[512];

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	bh_log(BH_LOG_DEBUG, "%s", text);
	return 0;
}

void bh_attach_quiet(void)
{
	libbpf_set_print(print);
}

int bh_attach_program(unsigned ifindex, enum bpf_tc_attach_point point, int program,
                      struct bh_error *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program, .priority = 1, .handle = 1,
	            .flags = BPF_TC_F_REPLACE);
	int rc;

	bh_attach_quiet();
	rc = bpf_tc_hook_create(&hook);
	if (rc && rc != -EEXIST)
		return bh_error_errno(err, rc, "cannot make the clsact hook of interface %u", ifindex);
	rc = bpf_tc_attach(&hook, &opts);
	if (rc)
		return bh_error_errno(err, rc, "cannot attach the gate to interface %u", ifindex);
	return 0;
}
