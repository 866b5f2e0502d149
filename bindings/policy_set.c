/*
 * policy_set.c - loads the files of a set into a sandbox and runs their handlers.
 *
 * Life: bh_policy_load() opens the sandbox, runs container/TYPE.lua and network/DRIVER.lua, checks
 * what they return and closes the set's directory: what was read then is all there will ever be,
 * so that the hash of it says what the policy is. bh_policy_call() runs handlers on copies of what
 * they are about. Everything that touches the sandbox's stack is inside bh_sandbox_run().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

#define COPY_DEPTH 8
#define READ_SIZE 1024
#define FILE_COST 1000 /* instructions, for the system calls of one require */

const char *const bh_container_fields[] = {
	"id", "name", "type", "annotations", "labels", "published", NULL,
};
const char *const bh_endpoint_fields[] = {"address", "addresses", "mac", "network", NULL};

static void set_current(struct bh_policy *policy, const char *name)
{
	if (name != policy->current)
		snprintf(policy->current, sizeof(policy->current), "%s", name);
}

struct reader {
	const char *text;
	size_t left;
};

/* In pieces, since the parser runs without hooks: hostile text takes it long. */
static const char *read_piece(lua_State *L, void *arg, size_t *size)
{
	struct reader *reader = arg;
	const char *piece = reader->text;

	*size = reader->left < READ_SIZE ? reader->left : READ_SIZE;
	reader->text += *size;
	reader->left -= *size;
	bh_sandbox_charge(L, *size);
	return *size ? piece : NULL;
}

/* Runs a file and leaves what it returned at the top. */
static void run_file(lua_State *L, const struct bh_policy_file *file)
{
	struct reader reader = {file->text, file->size};
	int status;
	const char *chunk = lua_pushfstring(L, "@%s", file->name);

	set_current(bh_policy_of(L), file->name);
	status = lua_load(L, read_piece, &reader, chunk, "t");
	if (status != LUA_OK) {
		bh_policy_of(L)->unparsable = status == LUA_ERRSYNTAX;
		lua_error(L);
	}
	lua_remove(L, -2);
	lua_call(L, 0, 1);
}

static void read_file(lua_State *L, const char *folder, const char *base,
                      struct bh_policy_file **file)
{
	struct bh_policy *policy = bh_policy_of(L);
	struct bh_error err;
	int rc = bh_policy_read(policy, folder, base, file, &err);

	if (rc) {
		policy->code = rc;
		luaL_error(L, "%s", err.message);
	}
}

/* What runs protected inside require: runs the file and keeps its value. 1 = name, 2 = loaded. */
static int require_file(lua_State *L)
{
	struct bh_policy_file *file;
	struct bh_error err;
	const char *name = lua_tostring(L, 1);
	char list[256];
	int rc;

	bh_sandbox_charge(L, FILE_COST);
	rc = bh_policy_read(bh_policy_of(L), NULL, name, &file, &err);
	if (rc) {
		luaL_where(L, 2); /* require itself is level 1 */
		if (rc == -ENOENT) {
			bh_policy_list(bh_policy_of(L)->dirfd, ".", list, sizeof(list));
			lua_pushfstring(L, "the set has no file '%s.lua' to require (it has: %s)", name, list);
		} else {
			lua_pushstring(L, err.message);
		}
		lua_concat(L, 2);
		return lua_error(L);
	}
	run_file(L, file);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
	lua_pushvalue(L, 1);
	lua_pushvalue(L, -2);
	lua_rawset(L, 2);
	return 1;
}

static int word_require(lua_State *L)
{
	struct bh_policy *policy = bh_policy_of(L);
	const char *name = luaL_checkstring(L, 1);
	char before[sizeof(policy->current)];

	if (lua_rawlen(L, 1) != strlen(name) || !bh_policy_name_ok(name, false))
		return luaL_error(L, "require takes the name of a file in the set's root: at most %d letters, "
		                  "digits and '_', without '.lua'", BH_POLICY_NAME);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_LOADED);
	lua_pushvalue(L, 1);
	lua_rawget(L, 2);
	if (lua_islightuserdata(L, 3))
		return luaL_error(L, "require '%s' goes in a circle: %s.lua is still being loaded", name, name);
	if (!lua_isnil(L, 3))
		return 1;
	if (policy->dirfd < 0)
		return luaL_error(L, "require '%s' comes too late: files are read when the set is loaded",
		                  name);
	lua_pushvalue(L, 1);
	lua_pushlightuserdata(L, policy);
	lua_rawset(L, 2);
	snprintf(before, sizeof(before), "%s", policy->current);
	lua_pushcfunction(L, require_file);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 2);
	if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
		lua_pushvalue(L, 1);
		lua_pushnil(L);
		lua_rawset(L, 2);
		return lua_error(L);
	}
	set_current(policy, before);
	return 1;
}

static int load_layers(lua_State *L)
{
	static const char *const registry[] = {
		BH_POLICY_RULES, BH_POLICY_ADDED, BH_POLICY_REACH, BH_POLICY_LOADED, BH_POLICY_HANDLERS,
	};
	struct bh_policy *policy = lua_touserdata(L, 1);
	struct bh_policy_file *file;

	for (size_t i = 0; i < sizeof(registry) / sizeof(registry[0]); i++) {
		lua_newtable(L);
		lua_setfield(L, LUA_REGISTRYINDEX, registry[i]);
	}
	bh_policy_open_words(L);
	lua_register(L, "require", word_require);

	lua_settop(L, 0);
	read_file(L, "container", policy->type, &file);
	run_file(L, file);
	set_current(policy, file->name);
	bh_policy_check(L, file, BH_POLICY_CONTAINER);

	lua_settop(L, 0);
	if (policy->driver) {
		read_file(L, "network", policy->driver, &file);
		run_file(L, file);
		set_current(policy, file->name);
		bh_policy_check(L, file, BH_POLICY_NETWORK);
	}
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_RULES);
	policy->rule_count = lua_rawlen(L, -1);
	return 0;
}

/*
 * Puts the set's directory before a message that begins with FILE: or, failing that, the file
 * itself.
 */
static int locate(const struct bh_policy *policy, struct bh_error *err)
{
	for (size_t i = 0; i < policy->file_count; i++) {
		size_t n = strlen(policy->files[i].name);

		if (!strncmp(err->message, policy->files[i].name, n) && err->message[n] == ':')
			return bh_error_set(err, policy->unparsable ? -EBADMSG : err->code, "%s/%s", policy->dir,
			                    err->message);
	}
	if (policy->code || !*policy->current)
		return bh_error_set(err, policy->code ? policy->code : err->code, "%s%s%s", policy->dir,
		                    policy->code ? "/" : ": ", err->message);
	return bh_error_set(err, err->code, "%s/%s: %s", policy->dir, policy->current, err->message);
}

static int run_located(struct bh_policy *policy, lua_CFunction function, void *arg,
                       struct bh_error *err)
{
	int rc = bh_sandbox_run(&policy->box, function, arg, err);

	return rc ? locate(policy, err) : 0;
}

/* Whether the set has FOLDER/NAME.lua, be it readable or not. */
static bool has_file(int dirfd, const char *folder, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.lua", folder, name);
	return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static int check_names(const char *dir, const char *type, const char *driver,
                       struct bh_error *err)
{
	const char *wrong = !bh_policy_name_ok(type, true)               ? type
	                    : driver && !bh_policy_name_ok(driver, true) ? driver
	                                                                 : NULL;

	if (!*dir)
		return bh_error_set(err, -EINVAL, "the directory of a policy set has no name");
	if (wrong)
		return bh_error_set(err, -EINVAL,
		                    "'%.60s' cannot name a policy: at most %d letters, digits, '_', '-' and '.'",
		                    wrong, BH_POLICY_NAME);
	return 0;
}

/* Opens the directory; finds out whether the files are there at all. */
static int open_set(struct bh_policy *policy, const char *dir, const char *type, const char *driver,
                    struct bh_error *err)
{
	size_t size = strlen(dir);
	char list[256];

	while (size > 1 && dir[size - 1] == '/')
		size--;
	policy->dir = strndup(dir, size);
	policy->type = strdup(type);
	if (!policy->dir || !policy->type)
		return bh_error_set(err, -ENOMEM, "not enough memory");
	policy->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (policy->dirfd < 0)
		return bh_error_errno(err, -errno, "policy set %s cannot be opened", policy->dir);
	if (!has_file(policy->dirfd, "container", type)) {
		bh_policy_list(policy->dirfd, "container", list, sizeof(list));
		return bh_error_set(err, -ENOENT, "%s/container/%s.lua: no such file (the set has: %s)",
		                    policy->dir, type, *list ? list : "no container policies");
	}
	if (driver && has_file(policy->dirfd, "network", driver)) {
		policy->driver = strdup(driver);
		if (!policy->driver)
			return bh_error_set(err, -ENOMEM, "not enough memory");
	}
	return 0;
}

int bh_policy_load(struct bh_policy *policy, const char *dir, const char *type, const char *driver,
                   struct bh_error *err)
{
	int rc = check_names(dir, type, driver, err);

	if (!rc)
		rc = open_set(policy, dir, type, driver, err);
	policy->antispoof = true;
	policy->direct = true;
	if (!rc)
		rc = run_located(policy, load_layers, policy, err);
	if (policy->dirfd >= 0)
		close(policy->dirfd);
	policy->dirfd = -1;
	return rc;
}

void bh_policy_clear(struct bh_policy *policy)
{
	bh_sandbox_close(&policy->box);
	bh_rule_clear(&policy->scratch);
	for (size_t i = 0; i < policy->file_count; i++) {
		free(policy->files[i].name);
		free(policy->files[i].text);
	}
	policy->file_count = 0;
	free(policy->dir);
	free(policy->type);
	free(policy->driver);
	policy->dir = policy->type = policy->driver = NULL;
	if (policy->dirfd >= 0)
		close(policy->dirfd);
	policy->dirfd = -1;
}

/*
 * Pushes a copy of a trusted value. Only what cannot raise in `from` is called there, for a longjmp
 * of the trusted state would leave this one half-way. What is no plain value becomes nil.
 */
static void push_copy(lua_State *L, lua_State *from, int index, int depth)
{
	size_t size;
	const char *text;

	switch (lua_type(from, index)) {
	case LUA_TSTRING:
		text = lua_tolstring(from, index, &size);
		bh_sandbox_of(L)->giving = true;
		lua_pushlstring(L, text, size);
		bh_sandbox_of(L)->giving = false;
		return;
	case LUA_TNUMBER:
		if (lua_isinteger(from, index))
			lua_pushinteger(L, lua_tointeger(from, index));
		else
			lua_pushnumber(L, lua_tonumber(from, index));
		return;
	case LUA_TBOOLEAN:
		lua_pushboolean(L, lua_toboolean(from, index));
		return;
	case LUA_TTABLE:
		break;
	default:
		lua_pushnil(L);
		return;
	}
	if (depth >= COPY_DEPTH || !lua_checkstack(from, 3))
		luaL_error(L, "what the handler is given is nested deeper than %d tables", COPY_DEPTH);
	luaL_checkstack(L, 4, "copying");
	lua_newtable(L);
	for (lua_pushnil(from); lua_next(from, index); lua_settop(from, -2)) {
		int key = lua_type(from, -2);

		if (key != LUA_TSTRING && key != LUA_TNUMBER)
			continue;
		push_copy(L, from, lua_absindex(from, -2), depth);
		push_copy(L, from, lua_absindex(from, -1), depth + 1);
		lua_rawset(L, -3);
	}
}

static void push_fields(lua_State *L, lua_State *from, int index, const char *const *names)
{
	lua_newtable(L);
	for (; *names; names++) {
		push_copy(L, from, index++, 0);
		lua_setfield(L, -2, *names);
	}
}

/* Lists and maps that a handler may walk without asking whether they are there. */
static void fill_in(lua_State *L)
{
	static const char *const tables[] = {"annotations", "labels", "published", NULL};

	for (const char *const *name = tables; *name; name++) {
		if (lua_getfield(L, -1, *name) == LUA_TNIL) {
			lua_newtable(L);
			lua_setfield(L, -3, *name);
		}
		lua_pop(L, 1);
	}
}

/* The address of an endpoint that came with `addresses` only: the first, without its length. */
static void fill_in_address(lua_State *L)
{
	const char *text;

	if (lua_getfield(L, -1, "address") == LUA_TNIL && lua_getfield(L, -2, "addresses") == LUA_TTABLE &&
	    lua_rawgeti(L, -1, 1) == LUA_TSTRING) {
		text = lua_tostring(L, -1);
		lua_pushlstring(L, text, strcspn(text, "/"));
		lua_setfield(L, -5, "address");
	}
}

static int call_handlers(lua_State *L)
{
	static const char *const folders[] = {"container", "network"};
	struct bh_policy_call *call = lua_touserdata(L, 1);
	struct bh_policy *policy = call->policy;

	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, BH_POLICY_ADDED);
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_HANDLERS);
	for (int layer = 0; layer < BH_POLICY_LAYERS; layer++) {
		char name[64];
		int endpoint;

		if (!(policy->handlers[layer] & (1u << call->event)))
			continue;
		snprintf(name, sizeof(name), "%s/%s.lua", folders[layer],
		         layer == BH_POLICY_CONTAINER ? policy->type : policy->driver);
		set_current(policy, name);
		lua_rawgeti(L, 2, layer * BH_EVENTS + (int)call->event + 1);
		push_fields(L, call->from, call->container, bh_container_fields);
		fill_in(L);
		if (call->endpoint) {
			push_fields(L, call->from, call->endpoint, bh_endpoint_fields);
			endpoint = lua_gettop(L);
			fill_in_address(L);
			lua_settop(L, endpoint);
			bh_policy_push_add(L);
			lua_setfield(L, -2, "add");
		} else {
			lua_pushnil(L);
		}
		lua_call(L, 2, 0);
	}
	return 0;
}

int bh_policy_call(struct bh_policy_call *call, struct bh_error *err)
{
	struct bh_policy *policy = call->policy;
	int top = lua_gettop(call->from), rc;

	policy->run++;
	rc = run_located(policy, call_handlers, call, err);
	lua_settop(call->from, top);
	return rc;
}
