// SPDX-License-Identifier: Apache-2.0
/*
 * note_run.so, to be preloaded: notes when the program calls KVM_RUN for the
 * first time. Costs both programs that are compared the same: one library to
 * load, and a comparison per ioctl.
 */
#include "tests/bench/note_run.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct note_run *note;

__attribute__((constructor)) static void map_note(void)
{
	const char *number = getenv(NOTE_RUN_FD);
	void *address;
	int fd;

	if (!number)
		return;
	fd = atoi(number);
	address = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, 0);
	if (address != MAP_FAILED)
		note = address;
	close(fd);
}

int ioctl(int fd, unsigned long request, ...)
{
	struct timespec now;
	uint64_t ns, none = 0;
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (request == KVM_RUN && note &&
	    !__atomic_load_n(&note->first_ns, __ATOMIC_RELAXED)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
		__atomic_compare_exchange_n(&note->first_ns, &none, ns, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	}
	return (int)syscall(SYS_ioctl, fd, request, argument);
}
