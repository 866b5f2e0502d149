/*
 * chunks.h - scripts are compiled when the program is built, and the bytecode is taken where their text is
 * still the same: to read Lua's grammar would be a fifth of what a hook takes.
 *
 * Whoever changes a script, here or where it is installed, has what is written there. Bytecode is only
 * good for the Lua that wrote it. Where Lua is a shared library another may have replaced it since; whether
 * it is the same is seen by its canary, a text with what the language has, which must compile to the same bytes.
 */
#ifndef BH_BINDINGS_CHUNKS_H
#define BH_BINDINGS_CHUNKS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BH_CHUNK_TEXT_MAX (1u << 17)

struct bh_chunk {
	uint64_t hash; /* of the text */
	size_t size;
	const unsigned char *bytes;
	size_t count;
};

#define BH_CHUNK_CANARY                                                                            \
	"local a <const>, b <close>, c = 1, nil, ... local function f(x, ...) local t = {x, k = -x, ...}" \
	" for i = 1, #t, 2 do t[i] = t[i] + 1 - i * 2 / 3 // 4 % 5 ^ 6 & 7 | 8 ~ 9 << 1 >> 2 end" \
	" for k, v in pairs(t) do if k == 'k' and not v or v ~= 2.5 then goto done elseif v <= 3 and k < 4 then" \
	" return f(v, ...) end t.k = k .. v ::done:: end while x > 1 do x = ~x break end repeat x = x >= 7 until x" \
	" return t, function(...) a1 = x c = c; return t:k(a), (...) end end return f"

/* Eight bytes a step. */
static inline uint64_t bh_chunk_hash(const char *text, size_t size)
{
	uint64_t hash = size, word;

	for (size_t i = 0; i < size; i += 8) {
		word = 0;
		memcpy(&word, text + i, size - i < 8 ? size - i : 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

/* luaL_loadfile, by the bytecode of the file's text where there is some. */
int bh_chunk_load(lua_State *L, const char *path);
/* Has `require` load its files so. */
void bh_chunks_install(lua_State *L);

#endif
