/*
 * chunks.c - see chunks.h.
 */
#include "chunks.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <unistd.h>

#include "bindings/chunks.inc"

#ifdef BH_LUA_LINKED
/* The Lua that compiled is in this program. */
static bool is_same_lua(lua_State *L)
{
	(void)L;
	return true;
}
#else
struct comparison {
	const unsigned char *bytes;
	size_t left;
};

static int compare(lua_State *L, const void *bytes, size_t size, void *arg)
{
	struct comparison *comparison = arg;

	(void)L;
	if (size > comparison->left || memcmp(bytes, comparison->bytes, size))
		return 1;
	comparison->bytes += size;
	comparison->left -= size;
	return 0;
}

/* Whether this Lua is the one that wrote the bytecode. */
static bool is_same_lua(lua_State *L)
{
	static int known; /* 1 = yes, -1 = no */
	struct comparison comparison = {chunks[0].bytes, chunks[0].count};

	if (known)
		return known > 0;
	known = -1;
	if (luaL_loadbufferx(L, BH_CHUNK_CANARY, strlen(BH_CHUNK_CANARY), "=canary", "t") == LUA_OK &&
	    lua_dump(L, compare, &comparison, 0) == 0 && !comparison.left)
		known = 1;
	lua_pop(L, 1);
	return known > 0;
}
#endif

static const struct bh_chunk *find(const char *text, size_t size)
{
	uint64_t hash = bh_chunk_hash(text, size);

	for (size_t i = 1; i < sizeof(chunks) / sizeof(chunks[0]); i++)
		if (chunks[i].size == size && chunks[i].hash == hash)
			return &chunks[i];
	return NULL;
}

/* The bytecode of what a file says; NULL if there is none, or the file cannot be read, which is -errno in `rc`. */
static const struct bh_chunk *find_file(const char *path, int *rc)
{
	static char text[BH_CHUNK_TEXT_MAX]; /* used for this alone */
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = -1;

	*rc = fd < 0 ? -errno : 0;
	while (fd >= 0 && size < sizeof(text) && (n = read(fd, text + size, sizeof(text) - size)) > 0)
		size += (size_t)n;
	if (fd >= 0)
		close(fd);
	return n ? NULL : find(text, size);
}

static int load_file(lua_State *L, const char *path, int *rc)
{
	const struct bh_chunk *chunk = find_file(path, rc);

	if (*rc)
		return LUA_ERRFILE;
	if (!chunk || !is_same_lua(L))
		return luaL_loadfile(L, path);
	return luaL_loadbufferx(L, (const char *)chunk->bytes, chunk->count, path, "b");
}

int bh_chunk_load(lua_State *L, const char *path)
{
	int rc, status = load_file(L, path, &rc);

	return rc ? luaL_loadfile(L, path) : status; /* which says why it cannot be read */
}

/*
 * The searcher of files: as Lua's own, but each file is opened once. Its upvalue is package.searchpath, which
 * says where a module was looked for when there is none.
 */
static int search(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1), *from;

	lua_settop(L, 1);
	luaL_gsub(L, name, ".", "/");
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path"); /* stays at 4 */
	from = luaL_checkstring(L, 4);
	while (*from) {
		size_t length = strcspn(from, ";");
		const char *path;
		int rc, status;

		lua_pushlstring(L, from, length);
		path = luaL_gsub(L, lua_tostring(L, -1), "?", lua_tostring(L, 2));
		status = load_file(L, path, &rc);
		if (!rc && status != LUA_OK)
			return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, path,
			                  lua_tostring(L, -1));
		if (!rc) {
			lua_pushstring(L, path);
			return 2;
		}
		lua_settop(L, 4);
		from += length + (from[length] == ';');
	}
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 4);
	lua_call(L, 2, 2);
	return 1;
}

void bh_chunks_install(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "searchers");
	lua_getfield(L, -2, "searchpath");
	lua_pushcclosure(L, search, 1);
	lua_rawseti(L, -2, 2); /* Lua's own place for it, behind what is preloaded */
	lua_pop(L, 2);
}
