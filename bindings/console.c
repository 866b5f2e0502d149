/*
 * console.c - module `bulkhead.console`: the terminal of a session, and Ctrl-C that ends what runs.
 *
 * Ctrl-C must end a chunk whatever it does and leave the session whole. A hook that counts
 * instructions is on while a chunk runs, so that coroutines, which take over the hook of who makes
 * them, have it too; the signal handler sets a flag and has the hook come at once in the thread that
 * guard() was called in (lua_sethook may be called from a handler). The hook raises. What catches
 * that gets a grace of GRACE instructions to clean up in, then every instruction raises, so that no
 * pcall in a loop survives. C functions are not interrupted, but those that wait return early. Who
 * presses Ctrl-C three times and nothing happens, ends the program.
 *
 * From catch() on the signal is blocked but in guard() and while wait_input() waits. Whatever comes in
 * between waits for the next of these: readline, which has a handler of its own while it takes in a
 * character, never sees one, and none is lost between a look at the flag and the waiting.
 */
#include "common.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GRACE 10000
#define PATIENCE 3

static volatile sig_atomic_t signals; /* that nobody has answered yet */
static lua_State *volatile running;   /* in guard() */
static int raised;                    /* times that the hook has raised for one Ctrl-C */

static void hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	if (!signals)
		return;
	raised++;
	lua_sethook(L, hook, LUA_MASKCOUNT, raised > 1 ? 1 : GRACE);
	luaL_error(L, "interrupted");
}

static void on_signal(int number)
{
	static const char last[] = "\nCtrl-C once more ends the session\n";
	lua_State *L = running;

	signals++;
	if (L && signals == 1)
		lua_sethook(L, hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
	if (signals == PATIENCE) {
		signal(number, SIG_DFL);
		if (write(STDERR_FILENO, last, sizeof(last) - 1) < 0)
			return;
	}
}

static void catch_signals(struct sigaction *before)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, before);
}

static void block(int how, sigset_t *before)
{
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(how, &interrupt, before);
}

/* As poll(), but that Ctrl-C ends it at once, also one that came since it was last asked about. */
static int wait_or_signal(struct pollfd *input, nfds_t count, const struct timespec *time)
{
	sigset_t blocked, open;
	int rc = -1;

	block(SIG_BLOCK, &blocked);
	open = blocked;
	sigdelset(&open, SIGINT);
	if (!signals)
		rc = ppoll(input, count, time, &open);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	return rc;
}

/* catch(): from now on Ctrl-C is for guard() and wait_input() only, also between them. */
static int console_catch(lua_State *L)
{
	(void)L;
	signals = 0;
	catch_signals(NULL);
	block(SIG_BLOCK, NULL);
	return 0;
}

/* guard(function, …): true and what it returns; or false, the error, and whether it was Ctrl-C. */
static int console_guard(lua_State *L)
{
	lua_Hook hook_before = lua_gethook(L);
	int mask_before = lua_gethookmask(L), count_before = lua_gethookcount(L);
	lua_State *outer = running;
	struct sigaction before;
	sigset_t blocked;
	int rc;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	signals = raised = 0;
	lua_sethook(L, hook, LUA_MASKCOUNT, GRACE);
	running = L;
	catch_signals(&before);
	block(SIG_UNBLOCK, &blocked);
	rc = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigaction(SIGINT, &before, NULL);
	running = outer;
	lua_sethook(L, hook_before, mask_before, count_before);
	lua_pushboolean(L, rc == LUA_OK);
	lua_insert(L, 1);
	if (rc != LUA_OK)
		lua_pushboolean(L, signals > 0);
	signals = raised = 0;
	return lua_gettop(L);
}

void bh_console_sleep(const struct timespec *time)
{
	wait_or_signal(NULL, 0, time);
}

/* wait_input(): true when standard input has something (its end, too), false after Ctrl-C. */
static int console_wait_input(lua_State *L)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	struct sigaction before;
	int rc;

	catch_signals(&before);
	do {
		rc = wait_or_signal(&input, 1, NULL);
	} while (rc < 0 && errno == EINTR && !signals);
	sigaction(SIGINT, &before, NULL);
	lua_pushboolean(L, !signals);
	signals = 0;
	return 1;
}

static int console_is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

static int console_width(lua_State *L)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		lua_pushnil(L);
	else
		lua_pushinteger(L, size.ws_col);
	return 1;
}

static const luaL_Reg functions[] = {
	{"catch", console_catch},
	{"guard", console_guard},
	{"wait_input", console_wait_input},
	{"is_terminal", console_is_terminal},
	{"width", console_width},
	{NULL, NULL},
};

int luaopen_bulkhead_console(lua_State *L);

int luaopen_bulkhead_console(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
