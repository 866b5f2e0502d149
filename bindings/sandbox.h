/*
 * sandbox.h - a Lua state of its own for code that is not trusted, with caps it cannot lift.
 *
 * What runs in it can do four kinds of harm besides what its functions let it do, and each has its
 * cap:
 *
 *   memory        an allocator with a limit; strings have one of their own, since one instruction may
 *                 copy or compare a whole string
 *   instructions  a count hook on the state's only thread (there are no coroutines), and C functions
 *                 that loop charge for their turns
 *   time          CPU time of the thread, looked at by the hook: the backstop for instructions that are
 *                 slow one by one (comparing long strings, next() over a table that was emptied)
 *   the C stack   LUAI_MAXCCALLS of Lua itself
 *
 * Once a cap is hit the hook fires on every instruction and raises each time, so that no pcall of
 * the code survives it. Hooks are off while a message handler or a finaliser runs: there are no
 * message handlers in the state (its xpcall calls the handler after unwinding), and no finalisers.
 *
 * Libraries are a white list; metatables are taken as copies (sandbox_lib.c).
 */
#ifndef BH_BINDINGS_SANDBOX_H
#define BH_BINDINGS_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/base/error.h"

#define BH_SANDBOX_MEMORY ((size_t)16 << 20)
/* 20 to 100 ms of plain Lua under the hook; 65,536 rules of the usual kind fit. */
#define BH_SANDBOX_INSTRUCTIONS 5000000
#define BH_SANDBOX_SECONDS 2
#define BH_SANDBOX_STRING ((size_t)64 << 10)

enum bh_over {
	BH_OVER_NONE,
	BH_OVER_INSTRUCTIONS,
	BH_OVER_TIME,
	BH_OVER_MEMORY,
	BH_OVER_STRING,
};

struct bh_sandbox {
	lua_State *L; /* NULL = closed */
	size_t memory;
	size_t memory_limit;
	int64_t used; /* instructions of this run */
	int64_t budget;
	int64_t deadline; /* of this run, in ns of the thread's CPU time */
	size_t unclocked; /* charged since C functions last looked at the clock */
	enum bh_over over;
	bool refused; /* the last allocation was refused; the next refusal is Lua's second try */
	bool running;
	bool giving; /* a string from outside, of any length: what the code makes of it has the limit again */
	char where[96]; /* FILE:LINE at which a cap was hit or something was raised, or empty */
};

/* In place; `box` must not move afterwards. Closing a closed one does nothing. */
int bh_sandbox_open(struct bh_sandbox *box, size_t memory, int64_t instructions,
                    struct bh_error *err);
void bh_sandbox_close(struct bh_sandbox *box);

/*
 * Calls `function` in the state with `arg` as its light userdata, under a fresh budget; never
 * while it is running. -ETIME or -ENOMEM if a cap was hit, -EINVAL for any other error raised. The
 * message is printable text, with a position in front if there is one.
 */
int bh_sandbox_run(struct bh_sandbox *box, lua_CFunction function, void *arg,
                   struct bh_error *err);

/* The sandbox a state belongs to. */
struct bh_sandbox *bh_sandbox_of(lua_State *L);

/*
 * Counts `n` instructions' worth of work done in C; raises if that is over the budget or out of
 * time.
 */
void bh_sandbox_charge(lua_State *L, size_t n);

/* FILE:LINE of the innermost Lua function, or "". Allocates nothing, raises nothing. */
const char *bh_sandbox_where(lua_State *L, char *text, size_t size);

/* Replaces control characters by spaces. */
void bh_sandbox_printable(char *text);

/* sandbox_lib.c: puts the white list in place of the globals. Runs protected. */
int bh_sandbox_libraries(lua_State *L);

/* As tostring(), without addresses: pushes a string. May call the value's __tostring. */
const char *bh_sandbox_tostring(lua_State *L, int index, size_t *size);

#endif
