/*
 * host.h - the `host` object: host.c reads, flows.c and drops.c what gates keep; change.c changes.
 */
#ifndef BH_BINDINGS_HOST_H
#define BH_BINDINGS_HOST_H

#include "../engine/bulkhead.h"
#include "common.h"

void bh_host_register(lua_State *L);
/* Pushes a closed host with one user value, to be filled by bh_host_open(). */
struct bh_host **bh_host_push(lua_State *L);
/* Raises if it is not a host or closed. */
struct bh_host *bh_check_host(lua_State *L, int index);

/* change.c: methods that add and remove. */
int bh_host_add_network(lua_State *L);
int bh_host_remove_network(lua_State *L);
int bh_host_add_container(lua_State *L);
int bh_host_remove_container(lua_State *L);
int bh_host_add_endpoint(lua_State *L);
int bh_host_remove_endpoint(lua_State *L);
int bh_host_set_phase(lua_State *L);
int bh_host_forget_lost(lua_State *L);
int bh_host_add_rules(lua_State *L);
int bh_host_change_endpoint(lua_State *L);
int bh_host_set_policies(lua_State *L);

/* drops.c */
int bh_host_drops(lua_State *L);

/* flows.c */
int bh_host_flows(lua_State *L);
int bh_host_flows_used(lua_State *L);

#endif
