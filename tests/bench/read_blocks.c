// SPDX-License-Identifier: Apache-2.0
/*
 * read_blocks DEVICE READS DEPTH: reads blocks of 4 KiB past the page cache,
 * DEPTH at a time in the air, spread over the first 64 MiB; between marks 2 and 3
 * on port 0x501. A processor leaf that nobody else asks for tells the end, too:
 * for whoever cannot tell two marks apart. A static program, run in the guest.
 */
#include <cpuid.h>
#include <err.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 4096UL
#define BLOCKS (64UL * 1024 * 1024 / BLOCK)
#define DEPTH_MAX 256
#define MARK_PORT 0x501
#define END_LEAF 0x5eed /* as in exits */

static struct iocb requests[DEPTH_MAX];
static uint64_t place = 1;

static long next_offset(void)
{
	place = place * 6364136223846793005UL + 1442695040888963407UL;
	return (long)((place >> 33) % BLOCKS * BLOCK);
}

static void submit(aio_context_t context, struct iocb **list, long count)
{
	long i;

	for (i = 0; i < count; i++)
		list[i]->aio_offset = next_offset();
	while (count > 0) {
		i = syscall(SYS_io_submit, context, count, list);
		if (i < 0)
			err(1, "io_submit");
		list += i;
		count -= i;
	}
}

static void read_all(aio_context_t context, long reads, long depth)
{
	struct io_event events[DEPTH_MAX];
	struct iocb *list[DEPTH_MAX];
	long i, done, again, left = reads;

	for (i = 0; i < depth; i++)
		list[i] = &requests[i];
	submit(context, list, depth);
	left -= depth;
	for (done = 0; done < reads; done += i) {
		i = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		if (i < 0)
			err(1, "io_getevents");
		for (again = 0; again < i; again++) {
			if (events[again].res != (long)BLOCK)
				errx(1, "read: %lld",
				     (long long)events[again].res);
			list[again] =
				(struct iocb *)(uintptr_t)events[again].obj;
		}
		again = again < left ? again : left;
		submit(context, list, again);
		left -= again;
	}
}

int main(int argc, char **argv)
{
	aio_context_t context = 0;
	unsigned int a, b, c, d;
	long reads, depth, i;
	uint8_t *buffers;
	int fd;

	if (argc != 4)
		errx(2, "usage: read_blocks DEVICE READS DEPTH");
	reads = atol(argv[2]);
	depth = atol(argv[3]);
	if (depth < 1 || depth > DEPTH_MAX || reads < depth)
		errx(2, "depth 1 to %d, and not more than reads", DEPTH_MAX);
	fd = open(argv[1], O_RDONLY | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[1]);
	buffers = mmap(NULL, depth * BLOCK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffers == MAP_FAILED || iopl(3) != 0 ||
	    syscall(SYS_io_setup, depth, &context) < 0)
		err(1, "setup");
	for (i = 0; i < depth; i++)
		requests[i] = (struct iocb){
			.aio_fildes = (uint32_t)fd,
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_buf = (uintptr_t)(buffers + i * BLOCK),
			.aio_nbytes = BLOCK,
		};
	/* Once through, so that nothing is done for the first time. */
	read_all(context, depth, depth);
	outb(2, MARK_PORT);
	read_all(context, reads, depth);
	outb(3, MARK_PORT);
	__cpuid(END_LEAF, a, b, c, d);
	return 0;
}
