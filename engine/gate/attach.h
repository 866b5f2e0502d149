/*
 * attach.h - a program at an interface's clsact hook, in the current namespace. Inside gate/ only.
 */
#ifndef BH_GATE_ATTACH_H
#define BH_GATE_ATTACH_H

#include <bpf/libbpf.h>

#include "../base/error.h"

/* Makes the clsact qdisc if it is missing, and our filter (priority 1, handle 1). */
int bh_attach_program(unsigned ifindex, enum bpf_tc_attach_point point, int program,
                      struct bh_error *err);
/* Silences libbpf but for what BULKHEAD_DEBUG asks for. */
void bh_attach_quiet(void);

#endif
