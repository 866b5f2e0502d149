/*
 * conf.c - see conf.h.
 */
#include "conf.h"

#include <string.h>

/* Options as policy:options() gives them, from the table at `index`. */
static void conf_options(lua_State *L, int index, struct bh_conf *conf)
{
	if (!bh_field_flag(L, index, "antispoof", true))
		conf->flags &= ~(uint32_t)BH_CONF_ANTISPOOF;
	if (bh_field_flag(L, index, "router", false))
		conf->flags |= BH_CONF_ROUTER;
	if (bh_field_flag(L, index, "dhcp_server", false))
		conf->flags |= BH_CONF_DHCP_SERVER;
	if (bh_field_flag(L, index, "audit", false))
		conf->flags |= BH_CONF_AUDIT;
	if (!bh_field_flag(L, index, "direct", true))
		conf->flags |= BH_CONF_SWITCHED;
	conf->flows_limit = (uint32_t)bh_field_integer(L, index, "flows", BH_FLOWS_LIMIT);
	if (conf->flows_guaranteed > conf->flows_limit)
		conf->flows_guaranteed = conf->flows_limit;
	if (lua_getfield(L, index, "timeouts") == LUA_TTABLE)
		for (int t = 0; t < BH_TIMEOUT_COUNT; t++)
			conf->timeouts[t] = (uint32_t)bh_field_integer(L, -1, bh_timeout_names[t], conf->timeouts[t]);
	lua_pop(L, 1);
}

/* default = { inbound = { action = … }, outbound = … } of the table at `index`. */
static void conf_defaults(lua_State *L, int index, struct bh_conf *conf)
{
	static const char *const names[] = {"inbound", "outbound"};

	for (int d = 0; d < 2; d++) {
		if (lua_getfield(L, index, names[d]) == LUA_TTABLE &&
		    !strcmp(bh_field_text(L, -1, "action", "allow"), "block"))
			conf->flags |= d ? BH_CONF_BLOCK_OUT : BH_CONF_BLOCK_IN;
		lua_pop(L, 1);
	}
}

void bh_conf_from_policy(lua_State *L, int index, struct bh_conf *conf)
{
	int top = lua_gettop(L);

	if (lua_getfield(L, index, "options") == LUA_TTABLE)
		conf_options(L, lua_gettop(L), conf);
	if (lua_getfield(L, index, "default") == LUA_TTABLE)
		conf_defaults(L, lua_gettop(L), conf);
	lua_settop(L, top);
}
