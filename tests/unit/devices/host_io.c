/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/host_io.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "memory/base.h"

struct host_io host_io;

static void sleep_ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

void host_io_hold(bool *flag, bool on)
{
	__atomic_store_n(flag, on, __ATOMIC_SEQ_CST);
}

bool host_io_wait_held(unsigned int count)
{
	unsigned int turn;

	for (turn = 0; turn < 20000; turn++) {
		if (__atomic_load_n(&host_io.held, __ATOMIC_SEQ_CST) == count)
			return true;
		sleep_ms();
	}
	return false;
}

static void wait_while(const bool *flag)
{
	if (!__atomic_load_n(flag, __ATOMIC_SEQ_CST))
		return;
	__atomic_fetch_add(&host_io.held, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(flag, __ATOMIC_SEQ_CST))
		sleep_ms();
	__atomic_fetch_sub(&host_io.held, 1, __ATOMIC_SEQ_CST);
}

static int chosen_error(unsigned int call)
{
	int error = __atomic_load_n(&host_io.error, __ATOMIC_SEQ_CST);

	return !error && host_io.interrupt && call % 2 ? EINTR : error;
}

static ssize_t transfer(long number, int fd, const struct iovec *iov, int count,
			off_t offset, unsigned int call)
{
	struct iovec first = iov[0];

	wait_while(number == SYS_preadv ? &host_io.hold_reads
					: &host_io.hold_writes);
	errno = chosen_error(call);
	if (errno)
		return -1;
	if (host_io.piece == 0)
		return syscall(number, fd, iov, count, offset, 0);
	first.iov_len = MIN(first.iov_len, host_io.piece);
	return syscall(number, fd, &first, 1, offset, 0);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return transfer(SYS_preadv, fd, iov, count, offset,
			__atomic_fetch_add(&host_io.reads, 1,
					   __ATOMIC_SEQ_CST));
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return transfer(SYS_pwritev, fd, iov, count, offset,
			__atomic_fetch_add(&host_io.writes, 1,
					   __ATOMIC_SEQ_CST));
}

int fdatasync(int fd)
{
	__atomic_fetch_add(&host_io.syncs, 1, __ATOMIC_SEQ_CST);
	wait_while(&host_io.hold_syncs);
	errno = chosen_error(0);
	return errno ? -1 : (int)syscall(SYS_fdatasync, fd);
}
