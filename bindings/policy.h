/*
 * policy.h - a loaded policy set, shared by the files that make it. Inside bindings/ only.
 *
 *   policy_source.c  lines of fields in a policy's text
 *   policy_words.c   what a policy is given: allow, block, contains, glob, endpoint:add
 *   policy_file.c    which files a set has; reads one without leaving the set
 *   policy_check.c   what a file returned, field by field
 *   policy_set.c     runs the files of a set in a sandbox, and later their handlers
 *   policy.c         the Lua module for trusted code
 *
 * Rules stay in the sandbox, as userdata that its memory limit counts. Names of files are relative
 * to the set while they are in there; the set's directory is put in front on the way out. A policy
 * learns nothing of the host's paths, and Lua, which cuts long chunk names, has none to cut.
 */
#ifndef BH_BINDINGS_POLICY_H
#define BH_BINDINGS_POLICY_H

#include "../engine/filter/evaluate.h"
#include "../engine/filter/rule.h"
#include "sandbox.h"

#define BH_POLICY_FILES 64
#define BH_POLICY_FILE_SIZE ((size_t)1 << 20)
#define BH_POLICY_NAME 40 /* with folder and suffix still short enough for a chunk's name */

struct bh_policy_file {
	char *name; /* relative to the set */
	char *text; /* NUL-terminated */
	size_t size;
};

enum bh_event {
	BH_EVENT_CREATE,
	BH_EVENT_ATTACH,
	BH_EVENT_START,
	BH_EVENT_STOP,
	BH_EVENT_DETACH,
	BH_EVENT_REMOVE,
	BH_EVENTS,
};

/* Who speaks: the container's file, then the network's. */
enum { BH_POLICY_CONTAINER, BH_POLICY_NETWORK, BH_POLICY_LAYERS };

/* Values in the sandbox's registry. */
#define BH_POLICY_RULES "rules"       /* list of rules, in order */
#define BH_POLICY_ADDED "added"       /* list of those a handler run added */
#define BH_POLICY_REACH "reach"       /* list of names of networks */
#define BH_POLICY_LOADED "loaded"     /* what require returned, by name */
#define BH_POLICY_HANDLERS "handlers" /* by layer * BH_EVENTS + event + 1 */
#define BH_POLICY_RULE "rule"         /* the metatable of rules */

struct bh_policy {
	struct bh_sandbox box; /* first: bh_policy_of() */
	char *dir;             /* the set, as given */
	char *type;            /* the container file's name */
	char *driver;          /* the network file's, or NULL */
	int dirfd;             /* -1 once loaded: nothing is read later */
	struct bh_policy_file files[BH_POLICY_FILES];
	size_t file_count;
	char current[64]; /* the file whose code is running; blamed for errors that name none */
	int code;         /* -errno of a file that could not be had; else 0 */
	bool unparsable;  /* one that was had is no Lua */
	enum bh_action actions[2]; /* the defaults, by direction */
	char origins[2][64];       /* theirs, FILE:LINE; empty = none yet */
	bool antispoof, router, dhcp_server, audit, direct;
	int64_t flows;                        /* 0 = not said */
	int64_t timeouts[BH_TIMEOUT_COUNT];   /* 0 = not said */
	unsigned handlers[BH_POLICY_LAYERS];  /* bit per event */
	size_t rule_count; /* static rules; 0 while they are being collected */
	lua_Integer run; /* number of the handler run; an endpoint of another one takes no rules */
	struct bh_rule scratch; /* the rule being checked: here, so that an error cannot leak it */
};

/*
 * A rule in the sandbox: fields as text, each after one byte that says which, and a 0 at the end.
 */
struct bh_policy_rule {
	uint8_t action;
	uint8_t direction;
	char text[];
};
#define BH_POLICY_ORIGIN 0x7f /* the byte of the origin; of a field it is 1 + its index */

static inline struct bh_policy *bh_policy_of(lua_State *L)
{
	return (struct bh_policy *)bh_sandbox_of(L);
}

extern const char *const bh_policy_events[]; /* NULL at the end, as the others */
extern const char *const bh_policy_actions[];
extern const char *const bh_policy_directions[];

/* ", "-joined; returns `text`. */
const char *bh_policy_join(const char *const *names, char *text, size_t size);

/* policy_source.c: the line on which the table a file returns has the field, or 0. */
int bh_source_field_line(const char *text, const char *field);
/* The line of the file's `return`, or 1. */
int bh_source_return_line(const char *text);

/* policy_words.c, in the sandbox. */
void bh_policy_open_words(lua_State *L);
/* Pushes a method for an endpoint of this run. */
void bh_policy_push_add(lua_State *L);
/* Appends a rule or lists of them at the top to the list at `list`; raises with `what` in front. */
void bh_policy_collect(lua_State *L, int list, const char *what);
/* Pushes a rule as a plain table, as bh_push_rule() does, onto a trusted stack. */
void bh_policy_rule_push(lua_State *L, const struct bh_policy_rule *rule, const char *dir);

/* policy_file.c */
/* 1 to BH_POLICY_NAME letters, digits and `_`; with `loose` also `-` and `.`, not first. */
bool bh_policy_name_ok(const char *name, bool loose);
/* Reads FOLDER/BASE.lua (no folder: the root) and keeps it in the policy. */
int bh_policy_read(struct bh_policy *policy, const char *folder, const char *base,
                   struct bh_policy_file **out, struct bh_error *err);
/* Names of the folder's policies, joined. */
void bh_policy_list(int dirfd, const char *folder, char *text, size_t size);

/* policy_check.c, in the sandbox: takes in the value at index 1, or raises. */
void bh_policy_check(lua_State *L, const struct bh_policy_file *file, int layer);

/* What a handler is given, in a trusted stack; tables in it are copied raw. */
struct bh_policy_call {
	struct bh_policy *policy;
	enum bh_event event;
	lua_State *from;
	int container; /* index of the first of the container's fields, in the order of their names */
	int endpoint;  /* the same of the endpoint's, or 0 */
};
extern const char *const bh_container_fields[];
extern const char *const bh_endpoint_fields[];

/* policy_set.c. `policy` is zeroed but for dirfd = -1; on failure the caller clears it. */
int bh_policy_load(struct bh_policy *policy, const char *dir, const char *type, const char *driver,
                   struct bh_error *err);
/* Closed or never opened: does nothing. */
void bh_policy_clear(struct bh_policy *policy);
/* Runs the event's handlers; the rules they added are the list BH_POLICY_ADDED. */
int bh_policy_call(struct bh_policy_call *call, struct bh_error *err);

#endif
