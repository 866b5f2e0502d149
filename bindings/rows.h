/*
 * rows.h - rows of the store as Lua tables: what host's reading methods return.
 */
#ifndef BH_BINDINGS_ROWS_H
#define BH_BINDINGS_ROWS_H

#include "../engine/bulkhead.h"
#include "common.h"

/* Each pushes a list of tables, or one table or nil where an id or name picks it. Raise only when
 * Lua has no memory; an error of the store is returned. A name or an id picks one; NULL is all. */
int bh_rows_networks(lua_State *L, struct bh_host *host, const char *name, struct bh_error *err);
int bh_rows_compartments(lua_State *L, struct bh_host *host, struct bh_error *err);
int bh_rows_containers(lua_State *L, struct bh_host *host, const char *id, struct bh_error *err);

/* With their endpoints. */
int bh_rows_lost(lua_State *L, struct bh_host *host, struct bh_error *err);

/* `key` is a container's id, a compartment's number or an endpoint's. */
enum bh_endpoints_by {
	BH_ENDPOINTS_ALL,
	BH_ENDPOINTS_OF_CONTAINER,
	BH_ENDPOINTS_OF_COMPARTMENT,
	BH_ENDPOINTS_ONE,
};

int bh_rows_endpoints(lua_State *L, struct bh_host *host, enum bh_endpoints_by by, const char *key,
                      struct bh_error *err);

#endif
