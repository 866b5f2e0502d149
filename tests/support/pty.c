/*
 * pty.c - a person at a terminal: runs a program on one and follows a script from standard input.
 *
 *   pty COLUMNS PROGRAM [ARG…]
 *
 * Lines of the script: `send TEXT` types (\n, \t, \\, \xHH; \x03 is Ctrl-C), `expect TEXT` waits until
 * the terminal shows it after what was expected before, `end` waits for the program's end. What the
 * terminal showed is printed. Exit status: the program's; 3 if something expected did not come in
 * time, 4 if the script is wrong. The program ends with the terminal.
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define SHOWN_MAX (1 << 20)

static char shown[SHOWN_MAX + 1];
static size_t shown_size, expected_to;

static int64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Reads what the terminal shows, for so long at most; false at its end. */
static bool look(int terminal, int ms)
{
	struct pollfd fd = {.fd = terminal, .events = POLLIN};
	ssize_t n;

	if (poll(&fd, 1, ms) <= 0)
		return true;
	n = read(terminal, shown + shown_size, SHOWN_MAX - shown_size);
	if (n <= 0)
		return n < 0 && errno == EINTR;
	shown_size += (size_t)n;
	shown[shown_size] = '\0';
	return shown_size < SHOWN_MAX;
}

static bool expect(int terminal, const char *text)
{
	int64_t until = now_ms() + PATIENCE_MS;
	bool open = true;

	for (;;) {
		char *found = memmem(shown + expected_to, shown_size - expected_to, text, strlen(text));

		if (found) {
			expected_to = (size_t)(found - shown) + strlen(text);
			return true;
		}
		if (!open || now_ms() > until)
			return false;
		open = look(terminal, 100);
	}
}

/* Undoes the escapes in place. */
static size_t unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++) {
		if (*in != '\\' || !in[1]) {
			*out++ = *in;
			continue;
		}
		in++;
		if (*in == 'x' && in[1] && in[2]) {
			char hex[3] = {in[1], in[2], '\0'};

			*out++ = (char)strtol(hex, NULL, 16);
			in += 2;
		} else {
			*out++ = *in == 'n' ? '\n' : *in == 't' ? '\t' : *in;
		}
	}
	*out = '\0';
	return (size_t)(out - text);
}

static int finish(pid_t child, int terminal, int status)
{
	int64_t until = now_ms() + PATIENCE_MS;
	int ended = 0;
	pid_t pid = 0;

	if (!status)
		while (look(terminal, 100) && now_ms() < until && !(pid = waitpid(child, &ended, WNOHANG)))
			;
	if (!pid && !status && now_ms() < until)
		pid = waitpid(child, &ended, 0);
	if (!pid) {
		kill(child, SIGKILL);
		waitpid(child, &ended, 0);
		status = status ? status : 3;
	}
	fwrite(shown, 1, shown_size, stdout);
	if (status)
		return status;
	return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
}

int main(int argc, char **argv)
{
	struct winsize size = {.ws_row = 50};
	char line[4096];
	int terminal;
	pid_t child;

	if (argc < 3) {
		fputs("usage: pty COLUMNS PROGRAM [ARG...]\n", stderr);
		return 4;
	}
	size.ws_col = (unsigned short)atoi(argv[1]);
	child = forkpty(&terminal, NULL, NULL, &size);
	if (child < 0) {
		perror("forkpty");
		return 4;
	}
	if (!child) {
		execv(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "send ", 5)) {
			size_t length = unescape(line + 5);

			if (write(terminal, line + 5, length) != (ssize_t)length)
				return finish(child, terminal, 4);
		} else if (!strncmp(line, "expect ", 7)) {
			if (unescape(line + 7) && !expect(terminal, line + 7)) {
				printf("expected, and not seen: %s\n", line + 7);
				return finish(child, terminal, 3);
			}
		} else if (*line) {
			return finish(child, terminal, strcmp(line, "end") ? 4 : 0);
		}
	}
	return finish(child, terminal, 0);
}
