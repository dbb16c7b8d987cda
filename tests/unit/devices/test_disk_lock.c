/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/disk_lock.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/disk.h"
#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/devices/disk_support.h"

#define BYTES (64 * KIB)

/* A child that holds a disk until it is killed. */
static pid_t fork_holder(int file, bool read_only)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct disk disk;
		int fd;

		/* Not to outlive a test that fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = reopen(file, read_only ? O_RDONLY : O_RDWR);
		if (disk_open(&disk, fd, "child", read_only, NULL) < 0)
			_exit(1);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void expected_text(pid_t pid, char *text, size_t size)
{
	char path[64], comm[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "r");
	cr_assert_not_null(fgets(comm, sizeof(comm), file));
	fclose(file);
	comm[strcspn(comm, "\n")] = '\0';
	snprintf(text, size, "disk.img: is locked by process %d (%s)", (int)pid,
		 comm);
}

Test(disk_lock, locked_disk_is_refused_and_the_holder_named)
{
	static const struct {
		bool holder_reads, we_read, refused;
	} cases[] = {
		{ false, false, true },
		{ false, true, true },
		{ true, false, true },
		{ true, true, false },
	};
	int file = make_file(BYTES);
	struct disk disk;
	unsigned int i;
	char text[200];
	pid_t pid;
	int fd;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		pid = fork_holder(file, cases[i].holder_reads);
		fd = reopen(file, cases[i].we_read ? O_RDONLY : O_RDWR);
		expected_text(pid, text, sizeof(text));
		if (cases[i].refused) {
			must_refuse(fd, cases[i].we_read, text);
		} else {
			must_open(&disk, fd, true);
			disk_close(&disk);
		}
		end_holder(pid);
		/* The lock went with its holder. */
		must_open(&disk, reopen(file, O_RDWR), false);
		disk_close(&disk);
	}
	close(file);
}

Test(disk_lock, posix_lock_of_another_process_names_it_too)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int file = make_file(BYTES), ready[2];
	char text[200], byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fcntl(file, F_SETLK, &lock) == 0 &&
		    write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	expected_text(pid, text, sizeof(text));
	must_refuse(reopen(file, O_RDWR), false, text);
	end_holder(pid);
}

Test(disk_lock, disk_given_twice_is_refused)
{
	int file = make_file(BYTES);
	struct disk disk;

	must_open(&disk, reopen(file, O_RDWR), false);
	must_refuse(reopen(file, O_RDWR), false,
		    "disk.img: is already used by this VM");
	disk_close(&disk);
	must_open(&disk, reopen(file, O_RDWR), false);
	disk_close(&disk);
}

Test(disk_lock, close_unlocks_though_a_copy_of_the_descriptor_stays)
{
	int file = make_file(BYTES), copy;
	struct disk disk;

	must_open(&disk, reopen(file, O_RDWR), false);
	copy = dup(disk.fd);
	disk_close(&disk);
	must_open(&disk, reopen(file, O_RDWR), false);
	disk_close(&disk);
	close(copy);
}

Test(disk_lock, holder_that_cannot_be_seen_is_another_process)
{
	int file = make_file(BYTES), status = 0;
	struct disk disk;
	pid_t pid;

	if (getuid() != 0)
		cr_skip_test("needs root to become somebody else");
	must_open(&disk, reopen(file, O_RDWR), false);
	pid = fork();
	if (pid == 0) {
		int fd = reopen(file, O_RDWR);
		struct error error = { 0 };
		struct disk other;

		/*
		 * Our copy of the description would name this child itself.
		 * Nobody may not look into root's descriptors.
		 */
		close(disk.fd);
		if (setgid(65534) || setuid(65534) || fd < 0)
			_exit(2);
		if (disk_open(&other, fd, "d", false, &error) == 0)
			_exit(3);
		_exit(strcmp(error.text, "d: is locked by another process")
			      ? 4
			      : 0);
	}
	waitpid(pid, &status, 0);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
	disk_close(&disk);
}
