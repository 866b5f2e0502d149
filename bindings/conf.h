/*
 * conf.h - what a policy says beside its rules, as the evaluator's conf.
 */
#ifndef BH_BINDINGS_CONF_H
#define BH_BINDINGS_CONF_H

#include "../engine/filter/evaluate.h"
#include "common.h"

#define BH_REACH_MAX 64 /* networks that one reaches by its policy or its own word */

/*
 * Fields `default` (as policy:default() gives it) and `options` (as policy:options()) of the table at
 * `index`, into flags, timeouts and limits of `conf`, which has been initialised.
 */
void bh_conf_from_policy(lua_State *L, int index, struct bh_conf *conf);

#endif
