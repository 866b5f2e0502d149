/*
 * columns.h - whole rows of the store, in the one wording that everybody asks in: SQLite compiles a statement
 * anew for each wording, which takes longer than reading columns that nobody needs.
 */
#ifndef BH_HOST_COLUMNS_H
#define BH_HOST_COLUMNS_H

#define BH_CONTAINER_COLUMNS \
	"SELECT id, name, type, compartment, policies, policy, owner, netns, phase, status FROM containers "
#define BH_CONTAINER_ROW BH_CONTAINER_COLUMNS "WHERE id = ?"

enum bh_container_column {
	BH_CONTAINER_ID, BH_CONTAINER_NAME, BH_CONTAINER_TYPE, BH_CONTAINER_COMPARTMENT, BH_CONTAINER_POLICIES,
	BH_CONTAINER_POLICY, BH_CONTAINER_OWNER, BH_CONTAINER_NETNS, BH_CONTAINER_PHASE, BH_CONTAINER_STATUS,
};

#define BH_COMPARTMENT_ROW "SELECT adopt, cookie, status FROM compartments WHERE id = ?"

enum bh_compartment_column {
	BH_COMPARTMENT_ADOPT, BH_COMPARTMENT_COOKIE, BH_COMPARTMENT_STATUS,
};

#define BH_NETWORK_ID "SELECT id FROM networks WHERE name = ?"
#define BH_NETWORK_COLUMNS "SELECT id, name, driver, mtu, dns, reach, status FROM networks "
#define BH_NETWORK_ROW BH_NETWORK_COLUMNS "WHERE id = ?"

enum bh_network_column {
	BH_NETWORK_NUMBER, BH_NETWORK_NAME, BH_NETWORK_DRIVER, BH_NETWORK_MTU, BH_NETWORK_DNS, BH_NETWORK_REACH,
	BH_NETWORK_STATUS,
};

#define BH_IDS_IN_CONTAINER "SELECT id FROM endpoints WHERE container = ? ORDER BY id"
#define BH_IDS_IN_COMPARTMENT "SELECT id FROM endpoints WHERE compartment = ? ORDER BY id"
#define BH_ENDPOINT_COLUMNS                                                                              \
	"SELECT id, container, compartment, network, kind, interface, mac, ipv6, shared, own, flags, timeouts," \
	" flows, origin_in, origin_out, reach, generation, attachment, phase, status FROM endpoints "
#define BH_ENDPOINT_ROW BH_ENDPOINT_COLUMNS "WHERE id = ?"

enum bh_endpoint_column {
	BH_ENDPOINT_ID, BH_ENDPOINT_CONTAINER, BH_ENDPOINT_COMPARTMENT, BH_ENDPOINT_NETWORK, BH_ENDPOINT_KIND,
	BH_ENDPOINT_INTERFACE, BH_ENDPOINT_MAC, BH_ENDPOINT_IPV6, BH_ENDPOINT_SHARED, BH_ENDPOINT_OWN,
	BH_ENDPOINT_FLAGS, BH_ENDPOINT_TIMEOUTS, BH_ENDPOINT_FLOWS, BH_ENDPOINT_ORIGIN_IN, BH_ENDPOINT_ORIGIN_OUT,
	BH_ENDPOINT_REACH, BH_ENDPOINT_GENERATION, BH_ENDPOINT_ATTACHMENT, BH_ENDPOINT_PHASE, BH_ENDPOINT_STATUS,
};

#endif
