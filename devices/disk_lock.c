/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a lock? F_OFD_GETLK and /proc/locks say pid -1 for a lock that
 * belongs to an open file description, as ours and QEMU's do. But the kernel
 * prints the lock in /proc/PID/fdinfo/FD of each descriptor that shares the
 * description, so that we look through those of all processes that we may see
 * for our file. That is slow, and done only for the error message.
 */
#include "devices/disk_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/error.h"

/* The pid in @name, a directory entry of /proc; 0 for other entries. */
static pid_t pid_parse(const char *name)
{
	char *end;
	long pid = strtol(name, &end, 10);

	return *end == '\0' && pid > 0 ? (pid_t)pid : 0;
}

/* Reads the beginning of file @name in @directory as a string. */
static bool text_read(int directory, const char *name, char *text, size_t size)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t done;

	if (fd < 0)
		return false;
	done = read(fd, text, size - 1);
	close(fd);
	text[done > 0 ? done : 0] = '\0';
	return done > 0;
}

/* What is looked for. */
struct search {
	struct stat file;
	bool exclusive; /* the lock that was refused */
};

/*
 * Whether fdinfo @text shows a lock in our way, in lines as
 * "lock:	1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF". It is cut up.
 */
static bool text_shows_lock(char *text, bool exclusive)
{
	char *line, *rest;

	for (line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (strstr(line, "OFDLCK") &&
		    (exclusive || strstr(line, "WRITE")))
			return true;
	}
	return false;
}

/* Whether descriptor @name of process @process holds the lock. */
static bool descriptor_holds(int process, const char *name,
			     const struct search *search)
{
	char path[64], text[1024];
	struct stat stat;

	snprintf(path, sizeof(path), "fd/%.32s", name);
	if (fstatat(process, path, &stat, 0) < 0 ||
	    stat.st_dev != search->file.st_dev ||
	    stat.st_ino != search->file.st_ino)
		return false;
	snprintf(path, sizeof(path), "fdinfo/%.32s", name);
	return text_read(process, path, text, sizeof(text)) &&
	       text_shows_lock(text, search->exclusive);
}

static bool process_holds(int process, const struct search *search)
{
	bool holds = false;
	struct dirent *entry;
	DIR *directory;
	int fd;

	fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return false;
	}
	while (!holds && (entry = readdir(directory)))
		holds = entry->d_name[0] != '.' &&
			descriptor_holds(process, entry->d_name, search);
	closedir(directory);
	return holds;
}

/* The first process that holds the lock; 0: none that we can see. */
static pid_t holder_search(const struct search *search)
{
	struct dirent *entry;
	pid_t pid, holder = 0;
	DIR *proc;
	int process;

	proc = opendir("/proc");
	if (!proc)
		return 0;
	while (!holder && (entry = readdir(proc))) {
		pid = pid_parse(entry->d_name);
		if (!pid)
			continue;
		process = openat(dirfd(proc), entry->d_name,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (process < 0)
			continue;
		if (process_holds(process, search))
			holder = pid;
		close(process);
	}
	closedir(proc);
	return holder;
}

/* The pid of whoever keeps us from setting @lock; 0: unknown. */
static pid_t holder_find(int fd, const struct flock *lock)
{
	struct flock holder = *lock;
	struct search search = { .exclusive = lock->l_type == F_WRLCK };

	/* A POSIX lock has a pid; -1: an open file description's. */
	if (fcntl(fd, F_OFD_GETLK, &holder) == 0 && holder.l_type != F_UNLCK &&
	    holder.l_pid > 0)
		return holder.l_pid;
	return fstat(fd, &search.file) == 0 ? holder_search(&search) : 0;
}

static int refuse(int fd, const char *path, const struct flock *lock,
		  struct error *error)
{
	pid_t holder = holder_find(fd, lock);
	char comm_path[64], comm[64];

	if (holder == 0)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is locked by another process", path);
	if (holder == getpid())
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is already used by this VM", path);
	snprintf(comm_path, sizeof(comm_path), "/proc/%d/comm", (int)holder);
	if (!text_read(AT_FDCWD, comm_path, comm, sizeof(comm)))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is locked by process %d", path,
				 (int)holder);
	comm[strcspn(comm, "\n")] = '\0';
	return error_set(error, EXIT_STATUS_CONFIGURATION,
			 "%s: is locked by process %d (%s)", path, (int)holder,
			 comm);
}

int disk_lock_take(int fd, const char *path, bool exclusive,
		   struct error *error)
{
	struct flock lock = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return refuse(fd, path, &lock, error);
	return error_set(error, EXIT_STATUS_HOST, "%s: cannot be locked: %m",
			 path);
}

void disk_lock_drop(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &lock);
}
