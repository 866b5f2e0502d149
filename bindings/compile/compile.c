/*
 * compile.c - part of the build: writes the bytecode of scripts as initializers of C, for chunks.c.
 *
 *   compile SCRIPT…    each line {hash, size, bytes, count}, and first the canary (chunks.h)
 *
 * A script is known by its text, so that it does not matter where it will be installed and what is
 * changed there. Names and lines stay in the bytecode: errors and tracebacks need them.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../chunks.h"

static int write_bytes(lua_State *L, const void *bytes, size_t size, void *count)
{
	const unsigned char *p = bytes;

	(void)L;
	for (size_t i = 0; i < size; i++)
		printf("%u,", p[i]);
	*(size_t *)count += size;
	return 0;
}

/* One chunk as an array; its size. */
static size_t compile(lua_State *L, const char *text, size_t size, const char *name, int number)
{
	size_t count = 0;

	if (luaL_loadbufferx(L, text, size, name, "t") != LUA_OK) {
		fprintf(stderr, "compile: %s\n", lua_tostring(L, -1));
		exit(1);
	}
	printf("static const unsigned char chunk_%d[] = {", number);
	lua_dump(L, write_bytes, &count, 0);
	puts("};");
	lua_pop(L, 1);
	return count;
}

static char *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(BH_CHUNK_TEXT_MAX);

	*size = file && text ? fread(text, 1, BH_CHUNK_TEXT_MAX, file) : 0;
	if (!*size || *size == BH_CHUNK_TEXT_MAX) {
		fprintf(stderr, "compile: cannot read %s\n", path);
		exit(1);
	}
	fclose(file);
	return text;
}

/* What errors call it: the path as given, but for libraries, which are somewhere on the machine. */
static const char *name_of(const char *path, char name[256])
{
	const char *slash = strrchr(path, '/');

	snprintf(name, 256, "@%s", path[0] == '/' && slash ? slash + 1 : path);
	return name;
}

int main(int argc, char **argv)
{
	lua_State *L = luaL_newstate();
	struct bh_chunk *chunks = calloc((size_t)argc, sizeof(*chunks));

	if (!L || !chunks)
		return 1;
	chunks[0].count = compile(L, BH_CHUNK_CANARY, strlen(BH_CHUNK_CANARY), "=canary", 0);
	for (int i = 1; i < argc; i++) {
		char name[256], *text = read_file(argv[i], &chunks[i].size);

		chunks[i].hash = bh_chunk_hash(text, chunks[i].size);
		chunks[i].count = compile(L, text, chunks[i].size, name_of(argv[i], name), i);
		free(text);
	}
	puts("static const struct bh_chunk chunks[] = {");
	for (int i = 0; i < argc; i++)
		printf("\t{0x%llxULL, %zu, chunk_%d, %zu},\n", (unsigned long long)chunks[i].hash, chunks[i].size, i,
		       chunks[i].count);
	puts("};");
	lua_close(L);
	free(chunks);
	return ferror(stdout) ? 1 : 0;
}
