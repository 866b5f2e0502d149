/*
 * switched.c - has all that comes to an endpoint and goes from it pass the switch (`on`), as a policy with
 * `direct = false` does, or not (`off`): without a policy, for tests and benches that go to and fro.
 *
 *   switched DIRECTORY PORT on|off      DIRECTORY of the gate's pins
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
		fprintf(stderr, "usage: switched DIRECTORY PORT on|off\n");
		return 2;
	}
	port = (uint32_t)atol(argv[2]);
	rc = bh_gate_open(&gate, argv[1], false, &err);
	rc = rc ? rc : bh_gate_conf_read(gate, port, &conf, &err);
	if (!rc) {
		conf.flags &= ~(uint32_t)BH_CONF_SWITCHED;
		conf.flags |= strcmp(argv[3], "on") ? 0 : BH_CONF_SWITCHED;
		rc = bh_gate_conf_put(gate, port, &conf, &err);
	}
	if (rc)
		fprintf(stderr, "switched: %s\n", err.message);
	bh_gate_close(&gate);
	return rc ? 1 : 0;
}
