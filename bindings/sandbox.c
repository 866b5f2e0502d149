/*
 * sandbox.c - the state, its allocator and its hook; see sandbox.h for what is capped and how.
 */
#include "sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Instructions between two looks at the clock. */
#define INTERVAL 250
/* Bytes allocated that count as one instruction. */
#define BYTES_PER_INSTRUCTION 16
/* What a full collection of a heap at its limit counts as. */
#define COLLECTION 50000
/* What Lua adds to a string's bytes: its header and the NUL, with room to spare. */
#define STRING_HEADER 64

static void hook(lua_State *L, lua_Debug *ar);

static int64_t cpu_time(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now))
		return 0;
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct bh_sandbox *bh_sandbox_of(lua_State *L)
{
	struct bh_sandbox *box;

	memcpy(&box, lua_getextraspace(L), sizeof(box));
	return box;
}

const char *bh_sandbox_where(lua_State *L, char *text, size_t size)
{
	lua_Debug ar;

	*text = '\0';
	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
			snprintf(text, size, "%s:%d", ar.short_src, ar.currentline);
			break;
		}
	}
	return text;
}

/* From now on the hook raises at every instruction. Safe inside the allocator. */
static void set_over(struct bh_sandbox *box, enum bh_over over)
{
	if (box->over || !box->running)
		return;
	box->over = over;
	bh_sandbox_where(box->L, box->where, sizeof(box->where));
	lua_sethook(box->L, hook, LUA_MASKCOUNT, 1);
}

static void count(struct bh_sandbox *box, size_t n)
{
	if (!box->running)
		return;
	/* No single charge comes near overflowing: it is at most a block's size or a table's. */
	box->used += (int64_t)n;
	if (box->used > box->budget)
		set_over(box, BH_OVER_INSTRUCTIONS);
}

/* Raises what needs no memory; bh_sandbox_run() knows the reason. */
static int raise(lua_State *L)
{
	lua_pushlightuserdata(L, bh_sandbox_of(L));
	return lua_error(L);
}

static void hook(lua_State *L, lua_Debug *ar)
{
	struct bh_sandbox *box = bh_sandbox_of(L);

	(void)ar;
	if (!box->over) {
		count(box, INTERVAL);
		if (cpu_time() > box->deadline)
			set_over(box, BH_OVER_TIME);
	}
	if (box->over)
		raise(L);
}

void bh_sandbox_charge(lua_State *L, size_t n)
{
	struct bh_sandbox *box = bh_sandbox_of(L);

	count(box, n);
	box->unclocked += n;
	if (box->running && box->unclocked >= INTERVAL) {
		box->unclocked = 0;
		if (cpu_time() > box->deadline)
			set_over(box, BH_OVER_TIME);
	}
	if (box->over)
		raise(L);
}

/* Lua collects everything and tries a second time: only a second refusal in a row is the end. */
static void *refuse(struct bh_sandbox *box)
{
	if (box->refused)
		set_over(box, BH_OVER_MEMORY);
	box->refused = true;
	count(box, COLLECTION);
	return NULL;
}

static void *allocate(void *arg, void *block, size_t old_size, size_t size)
{
	struct bh_sandbox *box = arg;
	bool string = !block && old_size == LUA_TSTRING; /* without a block it is the kind of object */
	size_t old = block ? old_size : 0;
	void *p;

	if (!size) {
		free(block);
		box->memory -= old;
		return NULL;
	}
	if (size > old) {
		if (string && !box->giving && size > BH_SANDBOX_STRING + STRING_HEADER) {
			set_over(box, BH_OVER_STRING);
			return NULL;
		}
		if (size - old > box->memory_limit || box->memory > box->memory_limit - (size - old))
			return refuse(box);
		count(box, size / BYTES_PER_INSTRUCTION);
	}
	p = realloc(block, size);
	if (!p)
		return size > old ? refuse(box) : block; /* Lua counts on shrinking to succeed */
	if (size > old)
		box->refused = false;
	box->memory = box->memory - old + size;
	return p;
}

int bh_sandbox_open(struct bh_sandbox *box, size_t memory, int64_t instructions,
                    struct bh_error *err)
{
	lua_State *L;

	memset(box, 0, sizeof(*box));
	box->memory_limit = memory;
	box->budget = instructions;
	L = lua_newstate(allocate, box);
	if (L) {
		memcpy(lua_getextraspace(L), &box, sizeof(box));
		lua_pushcfunction(L, bh_sandbox_libraries);
		if (lua_pcall(L, 0, 0, 0) == LUA_OK) {
			/* The limit is near: start the next collection soon after the last. */
			lua_gc(L, LUA_GCINC, 120, 200, 0);
			box->L = L;
			return 0;
		}
		lua_close(L);
	}
	return bh_error_set(err, -ENOMEM, "a policy's state does not fit into a memory limit of %zu KiB",
	                    memory >> 10);
}

void bh_sandbox_close(struct bh_sandbox *box)
{
	lua_State *L = box->L;

	box->L = NULL;
	if (L)
		lua_close(L);
}

void bh_sandbox_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 32 || *text == 127)
			*text = ' ';
}

static int over_error(const struct bh_sandbox *box, struct bh_error *err)
{
	const char *colon = *box->where ? ": " : "";

	switch (box->over) {
	case BH_OVER_INSTRUCTIONS:
		return bh_error_set(err, -ETIME,
		                    "%s%sthe policy ran over its budget of %" PRId64 " instructions",
		                    box->where, colon, box->budget);
	case BH_OVER_TIME:
		return bh_error_set(err, -ETIME, "%s%sthe policy ran over its time limit of %d s", box->where,
		                    colon, BH_SANDBOX_SECONDS);
	case BH_OVER_STRING:
		return bh_error_set(err, -ENOMEM, "%s%sthe policy made a string longer than %zu KiB",
		                    box->where, colon, BH_SANDBOX_STRING >> 10);
	default:
		if (box->memory_limit & 0xfffff)
			return bh_error_set(err, -ENOMEM, "%s%sthe policy ran over its memory limit of %zu KiB",
			                    box->where, colon, box->memory_limit >> 10);
		return bh_error_set(err, -ENOMEM, "%s%sthe policy ran over its memory limit of %zu MiB",
		                    box->where, colon, box->memory_limit >> 20);
	}
}

/* Notes where something is raised. Allocates nothing, because memory may be what is missing. */
static int note_raise(lua_State *L)
{
	struct bh_sandbox *box = bh_sandbox_of(L);

	if (!box->over)
		bh_sandbox_where(L, box->where, sizeof(box->where));
	return 1;
}

/*
 * What was raised, without running anything of the code's: no __tostring, no conversion. What does not
 * say where it was raised gets that in front.
 */
static int raised_error(struct bh_sandbox *box, int status, struct bh_error *err)
{
	lua_State *L = box->L;
	bool located = lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), ".lua:");
	const char *where = located ? "" : box->where, *colon = *where ? ": " : "";

	if (status == LUA_ERRMEM)
		return bh_error_set(err, -ENOMEM, "not enough memory");
	if (lua_type(L, -1) == LUA_TSTRING)
		bh_error_set(err, -EINVAL, "%s%s%s", where, colon, lua_tostring(L, -1));
	else if (lua_type(L, -1) == LUA_TNUMBER)
		bh_error_set(err, -EINVAL, "%s%s%.14g", where, colon, lua_tonumber(L, -1));
	else
		bh_error_set(err, -EINVAL, "%s%sthe error raised is a %s value, not a message", where, colon,
		             luaL_typename(L, -1));
	bh_sandbox_printable(err->message);
	return -EINVAL;
}

int bh_sandbox_run(struct bh_sandbox *box, lua_CFunction function, void *arg,
                   struct bh_error *err)
{
	lua_State *L = box->L;
	int status, rc = 0;

	box->used = 0;
	box->over = BH_OVER_NONE;
	box->refused = false;
	box->giving = false; /* a raise may have left it */
	box->where[0] = '\0';
	box->deadline = cpu_time() + (int64_t)BH_SANDBOX_SECONDS * 1000000000;
	box->running = true;
	lua_settop(L, 0);
	lua_sethook(L, hook, LUA_MASKCOUNT, INTERVAL);
	lua_pushcfunction(L, note_raise);
	lua_pushcfunction(L, function);
	lua_pushlightuserdata(L, arg);
	status = lua_pcall(L, 1, 0, 1);
	box->running = false;
	lua_sethook(L, NULL, 0, 0);
	if (box->over)
		rc = over_error(box, err);
	else if (status != LUA_OK)
		rc = raised_error(box, status, err);
	lua_settop(L, 0);
	if (rc)
		lua_gc(L, LUA_GCCOLLECT);
	return rc;
}
