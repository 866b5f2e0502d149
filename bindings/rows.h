/*
 * rows.h - rows of the store as Lua tables: what host's reading methods return.
 */
#ifndef BH_BINDINGS_ROWS_H
#define BH_BINDINGS_ROWS_H

#include "../engine/bulkhead.h"
#include "common.h"

/* Each pushes a list of tables, or one table or nil where an id or name picks it. Raise only when
 * Lua has no memory; an error of the store is returned. */
int bh_rows_networks(lua_State *L, struct bh_host *host, struct bh_error *err);
int bh_rows_compartments(lua_State *L, struct bh_host *host, struct bh_error *err);
int bh_rows_containers(lua_State *L, struct bh_host *host, struct bh_error *err);
int bh_rows_endpoints(lua_State *L, struct bh_host *host, const char *container,
                      struct bh_error *err);

#endif
