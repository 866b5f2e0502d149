/*
 * main.c - the `bulkhead` program: a Lua state with our modules in it, given to scripts/main.lua.
 *
 * It runs as root from hooks that hand over somebody's whole environment, so nothing of Lua's is
 * taken from there: LUA_PATH, LUA_CPATH and LUA_INIT are ignored. Scripts are found beside the
 * program (a build tree) or under the prefix it was installed to.
 */
#include "chunks.h"
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where scripts/ and policies/ are. */
static void find_root(char *root, size_t size)
{
	char exe[PATH_MAX], probe[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n > 0) {
		exe[n] = '\0';
		for (int up = 0; up < 2; up++) {
			char *slash = strrchr(exe, '/');

			if (slash)
				*slash = '\0';
		}
		snprintf(probe, sizeof(probe), "%s/scripts/main.lua", exe);
		if (access(probe, R_OK) == 0) {
			snprintf(root, size, "%s", exe);
			return;
		}
		snprintf(probe, sizeof(probe), "%s/share/bulkhead/scripts/main.lua", exe);
		if (access(probe, R_OK) == 0) {
			snprintf(root, size, "%s/share/bulkhead", exe);
			return;
		}
	}
	snprintf(root, size, "%s/share/bulkhead", BH_PREFIX);
}

static int traceback(lua_State *L)
{
	const char *message = lua_tostring(L, 1);

	if (message)
		luaL_traceback(L, L, message, 1);
	else
		luaL_tolstring(L, 1, NULL);
	return 1;
}

static void open_modules(lua_State *L, const char *root)
{
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
	luaL_openlibs(L);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	for (const luaL_Reg *m = bh_modules; m->name; m++) {
		lua_pushcfunction(L, m->func);
		lua_setfield(L, -2, m->name);
	}
	lua_pop(L, 1);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	lua_pushfstring(L, "%s/scripts/?.lua;%s", root, lua_tostring(L, -1));
	lua_setfield(L, -3, "path");
	lua_pop(L, 2);
	bh_chunks_install(L);
}

/*
 * A hook takes 2 MB and ends. The kernel gives them at once here, as one huge page where it has one: a fault
 * for each small page would be a tenth of all its time. A huge page must be asked for before any of it is
 * touched, so the heap begins a little below one.
 */
#define HEAP_BYTES ((uintptr_t)2 << 20)
#define BELOW 4096

static void take_heap(void)
{
#ifdef MADV_POPULATE_WRITE
	char *end = sbrk(0), *start = end + BELOW + (-(uintptr_t)(end + BELOW) & (HEAP_BYTES - 1)), *first;

	if (sbrk(start - BELOW - end) == (void *)-1)
		return;
	mallopt(M_TOP_PAD, HEAP_BYTES + BELOW);
	first = malloc(1);
	if (!first && sbrk(0) == start - BELOW) { /* the process may not have so much */
		mallopt(M_TOP_PAD, 128 << 10); /* as ever */
		sbrk(end - (start - BELOW));
	}
	if (first >= start - BELOW && first < start) { /* else malloc() is not libc's own */
		madvise(start, HEAP_BYTES, MADV_HUGEPAGE);
		madvise(start, HEAP_BYTES, MADV_POPULATE_WRITE);
	}
	free(first);
#endif
}

/*
 * What is opened must not get the number of a stream that whoever started us had closed: we write to those.
 * To a standard output that is closed nothing can be written, and who prints is told.
 */
static void open_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) < 0)
			return;
}

/* Whether all that was printed is where it should be; whoever asked must not take half of it for the answer. */
static bool is_written(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	fprintf(stderr, "bulkhead: the answer cannot be written: %s\n", errno ? strerror(errno) : "output failed");
	return false;
}

int main(int argc, char **argv)
{
	static lua_State *L;
	char root[PATH_MAX], script[PATH_MAX + 32];
	int status = 1, closed = 0;

	open_streams();
	signal(SIGXFSZ, SIG_IGN); /* a write that is refused is undone, and said */
	take_heap();
	L = luaL_newstate();
	if (!L) {
		fputs("bulkhead: not enough memory\n", stderr);
		return 1;
	}
	/* Until the dispatcher knows what is to be done; most of it ends before a collection would pay. */
	lua_gc(L, LUA_GCSTOP);
	find_root(root, sizeof(root));
	open_modules(L, root);
	lua_createtable(L, argc, 2);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	lua_pushstring(L, root);
	lua_setfield(L, -2, "root");
	lua_pushstring(L, BH_VERSION);
	lua_setfield(L, -2, "version");
	lua_setglobal(L, "arg");

	snprintf(script, sizeof(script), "%s/scripts/main.lua", root);
	lua_pushcfunction(L, traceback);
	if (bh_chunk_load(L, script) != LUA_OK || lua_pcall(L, 0, 2, 1) != LUA_OK) {
		fprintf(stderr, "bulkhead: %s\n", lua_tostring(L, -1));
	} else {
		status = lua_isinteger(L, -2) ? (int)lua_tointeger(L, -2) : 0;
		closed = lua_toboolean(L, -1);
	}
	if (!is_written() && !status)
		status = 1;
	if (!closed) /* else the process' end is quicker */
		lua_close(L);
	return status;
}
