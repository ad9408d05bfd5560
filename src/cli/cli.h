/* SPDX-License-Identifier: MIT */
/* The pvgpu program: a user of the embedding API like any other. */
#ifndef PV_CLI_CLI_H
#define PV_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
	const char *name;
	const char *help; /* whole text of --help */
	/* argv[0] is the command's name. Returns the exit code. */
	int (*run)(const struct cli_command *command, int argc, char **argv);
};

extern const struct cli_command cli_vhost_user, cli_vfio_user, cli_status, cli_screenshot, cli_resize, cli_vtest,
    cli_devices, cli_run, cli_worker;

/* "pvgpu: error: TEXT", then "pvgpu: error: HINT" unless NULL. */
void cli_error(const char *hint, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong command line, and where to read on. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Before the host's Vulkan or OpenGL is used: a user who has told Mesa's drivers to look for us (VN_DEBUG=vtest,
 * GALLIUM_DRIVER=virpipe) did not mean this process, which would wait for itself, or serve itself without end.
 */
void cli_not_our_own_guest(void);

/* ---- Options: "--name=VALUE", "--name VALUE", "-nVALUE", "-n VALUE"; flags take no value ---- */

struct cli_option {
	int id;           /* what cli_next() returns; > 0 */
	char letter;      /* 0: none */
	const char *name; /* without dashes */
	bool has_value;
};

struct cli_parser {
	const struct cli_command *command;
	const struct cli_option *options; /* up to one with id 0 */
	int argc;
	char **argv;
	/* After cli_next(). */
	const char *value; /* of the option, or the word that is none */
	/* Own state. */
	int index;
	const char *letters; /* what is left of a "-abc" */
	bool only_words;     /* after "--" */
};

enum { CLI_END = 0, CLI_WORD = -1, CLI_BAD = -2, CLI_HELP = -3 };

/* The next option's id, CLI_WORD, CLI_END, CLI_BAD (said why), or CLI_HELP (printed): the last two end the command. */
int cli_next(struct cli_parser *parser);
/* The exit code for an id that ends the command. */
int cli_ended(int id);

/* ---- Values. False: not one; nothing is printed. ---- */
bool cli_parse_number(const char *text, uint64_t max, uint64_t *out);
/* Bytes, with an optional K, M, G or T. */
bool cli_parse_bytes(const char *text, uint64_t *out);
/* WIDTHxHEIGHT, each 1..PV_DEVICE_MAX_SIDE_PIXELS; `end` as strtoul's. */
bool cli_parse_size(const char *text, const char **end, uint32_t *width, uint32_t *height);
bool cli_is_name(const char *text);

/* ---- Which device to speak to ---- */

struct cli_instance {
	const char *control; /* --control, or NULL */
	const char *name;    /* --name, or NULL */
};

/* "DIRECTORY/NAME.sock", to be freed; NULL: said why. */
char *cli_control_path(const char *name, bool create_directory);

/*
 * Asks the chosen device, or the only one, with a request as in pv/control.h. *out_reply is to be freed with
 * yyjson_doc_free() and is an object with "ok": true; *out_fd, if given, is the descriptor of the reply. Returns an
 * exit code; what went wrong has been said.
 */
struct yyjson_doc;
struct yyjson_mut_doc;
int cli_ask(const struct cli_instance *instance, struct yyjson_mut_doc *request, struct yyjson_doc **out_reply,
	    int *out_fd);

/* For signal handlers and other threads to wake poll() by: both ends close on exec and do not block. False: said why.
 */
bool cli_open_wake_pipe(int out_fds[2]);

#endif
