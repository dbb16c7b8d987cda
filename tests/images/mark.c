// SPDX-License-Identifier: Apache-2.0
/*
 * guest-mark N: writes N to I/O port 0x501, with which a guest tells the monitor
 * that it is ready (1), or begins (2) and ends (3) what is to be measured. A
 * program, because stock cloud kernels have no /dev/port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>

#define MARK_PORT 0x501

int main(int argc, char **argv)
{
	char *end;
	unsigned long mark;

	if (argc != 2) {
		fprintf(stderr, "usage: guest-mark N\n");
		return 2;
	}
	errno = 0;
	mark = strtoul(argv[1], &end, 0);
	if (errno || end == argv[1] || *end || mark > 0xff) {
		fprintf(stderr, "guest-mark: %s: not a number up to 255\n",
			argv[1]);
		return 2;
	}
	if (iopl(3) != 0) {
		fprintf(stderr, "guest-mark: iopl: %s\n", strerror(errno));
		return 1;
	}
	outb((unsigned char)mark, MARK_PORT);
	return 0;
}
