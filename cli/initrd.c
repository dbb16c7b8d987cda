/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/initrd.h"

#include "cli/byte_stream.h"
#include "cli/cpio.h"
#include "devices/error.h"
#include "memory/base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNPACKED_BYTES_MAX (2 * GIB)
#define SECONDS_MAX 30
#define MAGIC_BYTES_MAX 10

extern char **environ;

/* How the compressed formats that Linux takes begin, and what unpacks them. */
struct initrd_format {
	const char *name;
	unsigned int magic_bytes;
	const uint8_t magic[MAGIC_BYTES_MAX];
	const char *program;
	const char *package; /* Debian's */
};

static const struct initrd_format formats[] = {
	{ "gzip", 2, { 0x1f, 0x8b }, "gzip", "gzip" },
	{ "bzip2", 3, { 'B', 'Z', 'h' }, "bzip2", "bzip2" },
	{ "xz", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, "xz", "xz-utils" },
	{ "lzma", 3, { 0x5d, 0, 0 }, "xz", "xz-utils" },
	{ "lzo",
	  9,
	  { 0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n' },
	  "lzop",
	  "lzop" },
	{ "lz4", 4, { 0x02, 0x21, 0x4c, 0x18 }, "lz4", "lz4" },
	{ "lz4", 4, { 0x04, 0x22, 0x4d, 0x18 }, "lz4", "lz4" },
	{ "zstd", 4, { 0x28, 0xb5, 0x2f, 0xfd }, "zstd", "zstd" },
};

/* One reading of an initrd. */
struct initrd_reader {
	struct initrd_info *info;
	const char *path;
	uint64_t deadline_ns;
	/* The line of modules.builtin that is being read. */
	char line[256];
	size_t line_bytes;
};

/*
 * Whether @name, @len bytes, is that of module @module: "virtio-mmio.ko.xz", or
 * "03-virtio_mmio.ko" where an init without modprobe loads them in order.
 */
static bool initrd_is_module(const char *name, size_t len, const char *module)
{
	size_t stem = strlen(module);
	size_t digits = 0;

	while (digits < len && name[digits] >= '0' && name[digits] <= '9')
		digits++;
	if (digits > 0 && digits < len && name[digits] == '-') {
		name += digits + 1;
		len -= digits + 1;
	}
	if (len < stem + 3)
		return false;
	for (size_t i = 0; i < stem; i++) {
		char byte = name[i] == '-' ? '_' : name[i];

		if (byte != (module[i] == '-' ? '_' : module[i]))
			return false;
	}
	if (memcmp(name + stem, ".ko", 3) != 0)
		return false;
	return len == stem + 3 || name[stem + 3] == '.';
}

/* Looks whether @path, @len bytes, is that of a module that is looked for. */
static void initrd_note_module(struct initrd_info *info, const char *path,
			       size_t len, enum initrd_module state)
{
	const char *slash = memrchr(path, '/', len);
	const char *name = slash ? slash + 1 : path;
	size_t name_bytes = len - (size_t)(name - path);

	for (unsigned int i = 0; i < info->module_count; i++) {
		if (info->states[i] != INITRD_MODULE_FOUND &&
		    initrd_is_module(name, name_bytes, info->modules[i]))
			info->states[i] = state;
	}
}

/* Notes VERSION of "lib/modules/VERSION/..." and "usr/lib/modules/VERSION". */
static void initrd_note_version(struct initrd_info *info, const char *path)
{
	static const char directory[] = "lib/modules/";
	const char *version;
	size_t len;

	if (strncmp(path, "./", 2) == 0)
		path += 2;
	if (strncmp(path, "usr/", 4) == 0)
		path += 4;
	if (strncmp(path, directory, strlen(directory)) != 0)
		return;
	version = path + strlen(directory);
	len = strcspn(version, "/");
	if (len == 0 || len >= INITRD_VERSION_BYTES ||
	    info->version_count == INITRD_VERSIONS_MAX)
		return;
	for (unsigned int i = 0; i < info->version_count; i++) {
		if (strlen(info->versions[i]) == len &&
		    memcmp(info->versions[i], version, len) == 0)
			return;
	}
	memcpy(info->versions[info->version_count], version, len);
	info->versions[info->version_count++][len] = 0;
}

static bool initrd_entry(void *context, const char *name, uint64_t bytes)
{
	struct initrd_reader *reader = context;
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	bool is_builtin = strcmp(base, "modules.builtin") == 0;

	(void)bytes;
	if (strstr(base, ".ko") || is_builtin)
		reader->info->has_modules = true;
	initrd_note_version(reader->info, name);
	initrd_note_module(reader->info, name, strlen(name),
			   INITRD_MODULE_FOUND);
	reader->line_bytes = 0;
	return is_builtin;
}

/* modules.builtin: a path a line. */
static void initrd_content(void *context, const uint8_t *bytes, size_t count)
{
	struct initrd_reader *reader = context;

	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n') {
			initrd_note_module(reader->info, reader->line,
					   reader->line_bytes,
					   INITRD_MODULE_BUILT_IN);
			reader->line_bytes = 0;
		} else if (reader->line_bytes < sizeof(reader->line)) {
			reader->line[reader->line_bytes++] = (char)bytes[i];
		}
	}
}

static int initrd_fail(const struct initrd_reader *reader,
		       const struct byte_stream *stream, struct error *error)
{
	const char *why = "is damaged or truncated";

	if (stream->end == BYTE_STREAM_FAILED)
		why = strerror(stream->error);
	else if (stream->end == BYTE_STREAM_TOO_LONG)
		why = "is too large to look into";
	else if (stream->end == BYTE_STREAM_TOO_SLOW)
		why = "takes too long to look into";
	return error_set(error, EXIT_STATUS_CONFIGURATION, "%s: %s",
			 reader->path, why);
}

/* Linux passes over zeroes between archives. */
static void initrd_skip_zeroes(struct byte_stream *stream)
{
	const uint8_t *bytes;
	size_t zeroes;
	size_t have;

	do {
		have = byte_stream_peek(stream, 1, &bytes);
		for (zeroes = 0; zeroes < have && bytes[zeroes] == 0; zeroes++)
			;
		byte_stream_skip(stream, zeroes);
	} while (have > 0 && zeroes == have);
}

/*
 * Walks over the archives of @stream until its end, or until something that is
 * no archive: the result is then 1, and the stream stands there.
 */
static int initrd_walk(struct initrd_reader *reader, struct byte_stream *stream,
		       struct error *error)
{
	const struct cpio_visitor visitor = {
		.entry = initrd_entry,
		.content = initrd_content,
		.context = reader,
	};
	unsigned int entries;
	const uint8_t *bytes;
	size_t have;

	for (;;) {
		initrd_skip_zeroes(stream);
		have = byte_stream_peek(stream, MAGIC_BYTES_MAX, &bytes);
		if (have == 0 && stream->end == BYTE_STREAM_ENDED)
			return 0;
		if (have == 0)
			return initrd_fail(reader, stream, error);
		if (have < CPIO_MAGIC_BYTES || !cpio_is_magic(bytes))
			return 1;
		if (!cpio_walk(stream, &visitor, &entries))
			return initrd_fail(reader, stream, error);
		reader->info->entries += entries;
	}
}

static const struct initrd_format *initrd_identify(const uint8_t *bytes,
						   size_t count)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++) {
		if (count >= formats[i].magic_bytes &&
		    memcmp(bytes, formats[i].magic, formats[i].magic_bytes) ==
			    0)
			return &formats[i];
	}
	return NULL;
}

/*
 * Starts `PROGRAM -dc` from @fd into @out, silent, with the signals that we
 * ignore as usual. 0 or errno.
 */
static int initrd_spawn(const char *program, int fd, int out, pid_t *child)
{
	char name[16];
	char option[] = "-dc";
	char *const argv[] = { name, option, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t signals;
	int err;

	snprintf(name, sizeof(name), "%s", program);
	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	sigaddset(&signals, SIGXFSZ);
	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return err;
	err = posix_spawnattr_init(&attributes);
	if (err)
		goto err_actions;
	posix_spawnattr_setsigdefault(&attributes, &signals);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, out,
						       STDOUT_FILENO);
	if (!err)
		err = posix_spawn_file_actions_addopen(
			&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (!err)
		err = posix_spawnp(child, program, &actions, &attributes, argv,
				   environ);
	posix_spawnattr_destroy(&attributes);
err_actions:
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

/* Walks over what @pipe_fd gives. */
static int initrd_walk_unpacked(struct initrd_reader *reader, int pipe_fd,
				struct error *error)
{
	struct byte_stream *stream = malloc(sizeof(*stream));
	int result;

	if (!stream)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "%s: out of memory", reader->path);
	byte_stream_init(stream, pipe_fd, UNPACKED_BYTES_MAX,
			 reader->deadline_ns);
	result = initrd_walk(reader, stream, error);
	if (result > 0)
		result =
			error_set(error, EXIT_STATUS_CONFIGURATION,
				  "%s: what is packed in it is no cpio archive",
				  reader->path);
	free(stream);
	return result;
}

/* The rest of @fd, from @offset on, is compressed as @format says. */
static int initrd_unpack(struct initrd_reader *reader, int fd, uint64_t offset,
			 const struct initrd_format *format,
			 struct error *error)
{
	unsigned int before = reader->info->entries;
	int result;
	int ends[2];
	pid_t child;
	int err;

	if (lseek(fd, (off_t)offset, SEEK_SET) < 0 || pipe2(ends, O_CLOEXEC))
		return error_set(error, EXIT_STATUS_INTERNAL, "%s: %s",
				 reader->path, strerror(errno));
	err = initrd_spawn(format->program, fd, ends[1], &child);
	close(ends[1]);
	if (err) {
		close(ends[0]);
		return error_set(
			error, EXIT_STATUS_HOST,
			"%s: %s is needed to look into it: %s (apt install %s)",
			reader->path, format->program, strerror(err),
			format->package);
	}
	result = initrd_walk_unpacked(reader, ends[0], error);
	close(ends[0]);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (result == 0 && reader->info->entries == before)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is damaged or truncated (%s)",
				 reader->path, format->name);
	return result;
}

static int initrd_read_stream(struct initrd_reader *reader,
			      struct byte_stream *stream, struct error *error)
{
	const struct initrd_format *format;
	const uint8_t *bytes;
	int result;
	size_t have;

	reader->info->compression = "no";
	result = initrd_walk(reader, stream, error);
	if (result < 0)
		return -1;
	if (result == 0 && stream->offset == 0)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is empty", reader->path);
	if (result == 0)
		return 0;
	have = byte_stream_peek(stream, MAGIC_BYTES_MAX, &bytes);
	format = initrd_identify(bytes, have);
	if (!format)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is no cpio archive, plain or compressed",
				 reader->path);
	reader->info->compression = format->name;
	return initrd_unpack(reader, stream->fd, stream->offset, format, error);
}

int initrd_read(int fd, const char *path, const char *const *modules,
		unsigned int count, struct initrd_info *info,
		struct error *error)
{
	struct initrd_reader reader = { .info = info, .path = path };
	struct byte_stream *stream;
	struct timespec now;
	int result;

	*info = (struct initrd_info){
		.modules = modules,
		.module_count = MIN(count, INITRD_MODULES_MAX),
	};
	stream = malloc(sizeof(*stream));
	if (!stream)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "%s: out of memory", path);
	clock_gettime(CLOCK_MONOTONIC, &now);
	reader.deadline_ns = ((uint64_t)now.tv_sec + SECONDS_MAX) * 1000000000;
	byte_stream_init(stream, fd, UNPACKED_BYTES_MAX, reader.deadline_ns);
	result = initrd_read_stream(&reader, stream, error);
	free(stream);
	return result;
}
