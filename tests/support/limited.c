/*
 * limited.c - says of an endpoint's port that it has a bandwidth limit (`on`) or none (`off`).
 *
 *   limited DIRECTORY PORT on|off      DIRECTORY of the gate's pins
 *
 * Nothing sets a limit yet; its one effect so far, that what comes and goes passes the switch, is
 * what tests and benches use it for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/gate/gate.h"

int main(int argc, char **argv)
{
	struct bh_gate_kernel *gate = NULL;
	struct bh_error err;
	struct bh_conf conf;
	uint32_t port;
	int rc;

	if (argc != 4) {
		fprintf(stderr, "usage: limited DIRECTORY PORT on|off\n");
		return 2;
	}
	port = (uint32_t)atol(argv[2]);
	rc = bh_gate_open(&gate, argv[1], false, &err);
	rc = rc ? rc : bh_gate_conf_read(gate, port, &conf, &err);
	if (!rc) {
		conf.flags &= ~(uint32_t)BH_CONF_LIMITED;
		conf.flags |= strcmp(argv[3], "on") ? 0 : BH_CONF_LIMITED;
		rc = bh_gate_conf_put(gate, port, &conf, &err);
	}
	if (rc)
		fprintf(stderr, "limited: %s\n", err.message);
	bh_gate_close(&gate);
	return rc ? 1 : 0;
}
