/*
 * policy_source.c - on which line of a policy's text a field stands.
 *
 * Lua does not keep where a table's fields were written, and the line of `default` is what explains
 * a packet no rule spoke of. So the text is read once more, as tokens: enough of Lua's grammar to
 * tell the table of the final `return` from others, and tolerant of the rest.
 */
#include <string.h>

#include "policy.h"

#define DEPTH_MAX 64

struct scanner {
	const char *p;
	int line;          /* of the token */
	int next_line;     /* of p */
	const char *token; /* not terminated; size 0 = end of text */
	size_t size;
	bool word;
	char open[DEPTH_MAX]; /* brackets that are open */
	int depth;
	int blocks; /* of statements that are open */
	bool field; /* the token may be a field's name: it follows `{`, `,` or `;` in a constructor */
};

/* The level of a long bracket that opens at p, or -1. */
static int long_level(const char *p)
{
	int level = 0;

	if (*p++ != '[')
		return -1;
	for (; *p == '='; p++)
		level++;
	return *p == '[' ? level : -1;
}

static void skip_long(struct scanner *s, int level)
{
	for (s->p += level + 2; *s->p; s->p++) {
		if (*s->p == '\n')
			s->next_line++;
		if (*s->p != ']')
			continue;
		if ((int)strspn(s->p + 1, "=") == level && s->p[level + 1] == ']') {
			s->p += level + 2;
			return;
		}
	}
}

static void skip_string(struct scanner *s)
{
	char quote = *s->p++;

	for (; *s->p && *s->p != quote; s->p++) {
		if (*s->p == '\\' && s->p[1])
			s->p++;
		if (*s->p == '\n')
			s->next_line++;
	}
	if (*s->p)
		s->p++;
}

static void skip_space(struct scanner *s)
{
	for (;;) {
		if (*s->p == '\n') {
			s->next_line++;
			s->p++;
		} else if (*s->p == ' ' || *s->p == '\t' || *s->p == '\r') {
			s->p++;
		} else if (s->p[0] == '-' && s->p[1] == '-') {
			s->p += 2;
			if (long_level(s->p) >= 0)
				skip_long(s, long_level(s->p));
			else
				s->p += strcspn(s->p, "\n");
		} else {
			return;
		}
	}
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool token_is(const struct scanner *s, const char *text)
{
	return s->size == strlen(text) && !memcmp(s->token, text, s->size);
}

static void note_nesting(struct scanner *s)
{
	char c = *s->token;

	if (s->word) {
		if (token_is(s, "function") || token_is(s, "do") || token_is(s, "if") ||
		    token_is(s, "repeat"))
			s->blocks++;
		else if (token_is(s, "end") || token_is(s, "until"))
			s->blocks--;
	} else if (c == '{' || c == '(' || (c == '[' && s->size == 1)) {
		if (s->depth < DEPTH_MAX)
			s->open[s->depth] = c;
		s->depth++;
	} else if ((c == '}' || c == ')' || c == ']') && s->depth > 0) {
		s->depth--;
	}
}

/* The next token; strings are one. */
static bool next_token(struct scanner *s)
{
	char before = s->size && !s->word ? *s->token : 'x';

	skip_space(s);
	s->line = s->next_line;
	s->token = s->p;
	s->word = is_word(*s->p);
	if (s->word) {
		while (is_word(*s->p))
			s->p++;
	} else if (*s->p == '"' || *s->p == '\'') {
		skip_string(s);
	} else if (long_level(s->p) >= 0) {
		skip_long(s, long_level(s->p));
	} else if (*s->p && strchr("=~<>", *s->p) && s->p[1] == '=') {
		s->p += 2;
	} else if (*s->p) {
		s->p++;
	}
	s->size = (size_t)(s->p - s->token);
	s->field = s->depth > 0 && s->depth <= DEPTH_MAX && s->open[s->depth - 1] == '{' &&
	           (before == '{' || before == ',' || before == ';');
	if (s->size)
		note_nesting(s);
	return s->size > 0;
}

static bool assignment_follows(const struct scanner *s)
{
	struct scanner ahead = *s;

	return next_token(&ahead) && token_is(&ahead, "=");
}

int bh_source_field_line(const char *text, const char *field)
{
	struct scanner s = {.p = text, .next_line = 1};
	int returned = 0, elsewhere = 0;
	bool in_return = false, after_dot = false;

	while (next_token(&s)) {
		bool name = s.word && token_is(&s, field) && (s.field || after_dot) && assignment_follows(&s);

		after_dot = *s.token == '.' && s.size == 1;
		if (s.word && !s.depth && !s.blocks && token_is(&s, "return"))
			in_return = true;
		if (!name || s.depth > 1)
			continue;
		if (in_return && s.depth == 1 && !s.blocks && !returned)
			returned = s.line;
		else if (!in_return && !elsewhere)
			elsewhere = s.line;
	}
	return returned ? returned : elsewhere;
}

int bh_source_return_line(const char *text)
{
	struct scanner s = {.p = text, .next_line = 1};
	int line = 1;

	while (next_token(&s))
		if (s.word && !s.depth && !s.blocks && token_is(&s, "return"))
			line = s.line;
	return line;
}
