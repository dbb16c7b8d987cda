/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/guest_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/base.h"

/* Of the address sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

#define LOW_SIZE (4 * MIB)
#define HIGH_FIRST (4 * GIB)
#define HIGH_SIZE (2 * MIB)

/* RAM with a hole between 4 MiB and 4 GiB. */
static const struct guest_memory_range low_and_high[] = {
	{ 0, LOW_SIZE },
	{ HIGH_FIRST, HIGH_SIZE },
};

static void setup(struct guest_memory *memory)
{
	cr_assert_eq(guest_memory_init(memory, low_and_high, 2,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
}

/* Bytes of RAM that the host really gave. */
static uint64_t bytes_present(const struct guest_memory *memory)
{
	struct stat status;

	cr_assert_eq(fstat(memory->fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static unsigned int open_fds(void)
{
	unsigned int count = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Pages of address space in use. */
static unsigned long address_space(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	return pages;
}

/* Whether anything is mapped at @address. */
static bool is_mapped(void *address)
{
	unsigned char present;

	return mincore(address, PAGE_SIZE, &present) == 0;
}

Test(guest_memory, init_takes_only_valid_ranges)
{
	static const struct {
		const char *name;
		struct guest_memory_range ranges[5];
		unsigned int count;
		enum guest_memory_pages pages;
		int err;
	} cases[] = {
		/* clang-format off */
		{ "one", { { 0, PAGE_SIZE } }, 1, 0, 0 },
		{ "not from 0", { { MIB, MIB } }, 1, 0, 0 },
		{ "touching", { { 0, MIB }, { MIB, MIB } }, 2, 0, 0 },
		{ "most", { { 0, MIB }, { MIB, MIB }, { GIB, MIB }, { 2 * GIB, MIB } }, 4, 0, 0 },
		{ "last below the end", { { GUEST_MEMORY_END - MIB, MIB } }, 1, 0, 0 },
		{ "none", { { 0, 0 } }, 0, 0, -EINVAL },
		{ "too many",
		  { { 0, MIB }, { MIB, MIB }, { 2 * MIB, MIB }, { 3 * MIB, MIB }, { 4 * MIB, MIB } },
		  5, 0, -EINVAL },
		{ "size 0", { { 0, 0 } }, 1, 0, -EINVAL },
		{ "first not aligned", { { 1, MIB } }, 1, 0, -EINVAL },
		{ "size not aligned", { { 0, MIB + 1 } }, 1, 0, -EINVAL },
		{ "overlap", { { 0, MIB }, { MIB - PAGE_SIZE, MIB } }, 2, 0, -EINVAL },
		{ "same twice", { { 0, MIB }, { 0, MIB } }, 2, 0, -EINVAL },
		{ "descending", { { GIB, MIB }, { 0, MIB } }, 2, 0, -EINVAL },
		{ "page too far", { { GUEST_MEMORY_END - MIB, MIB + PAGE_SIZE } }, 1, 0, -EINVAL },
		{ "above the end", { { GUEST_MEMORY_END, MIB } }, 1, 0, -EINVAL },
		{ "up to 2^64", { { -MIB, MIB } }, 1, 0, -EINVAL },
		{ "past 2^64", { { -MIB, 2 * MIB } }, 1, 0, -EINVAL },
		{ "2M first", { { MIB, 2 * MIB } }, 1, GUEST_MEMORY_2M, -EINVAL },
		{ "2M size", { { 0, MIB } }, 1, GUEST_MEMORY_2M, -EINVAL },
		{ "thp page", { { PAGE_SIZE, PAGE_SIZE } }, 1, GUEST_MEMORY_THP, 0 },
		/* clang-format on */
	};
	struct guest_memory memory;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = guest_memory_init(&memory, cases[i].ranges,
					    cases[i].count, cases[i].pages);

		cr_expect_eq(err, cases[i].err, "%s: %d", cases[i].name, err);
		if (err == 0)
			guest_memory_destroy(&memory);
	}
}

Test(guest_memory, init_describes_the_regions)
{
	struct guest_memory memory;

	setup(&memory);
	cr_assert_eq(memory.region_count, 2);
	cr_assert_eq(memory.bytes, LOW_SIZE + HIGH_SIZE);
	cr_assert_eq(memory.regions[0].first, 0);
	cr_assert_eq(memory.regions[0].last, LOW_SIZE - 1);
	cr_assert_eq(memory.regions[1].first, HIGH_FIRST);
	cr_assert_eq(memory.regions[1].last, HIGH_FIRST + HIGH_SIZE - 1);
	cr_assert(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
	guest_memory_destroy(&memory);
}

Test(guest_memory, regions_agree_modulo_2m_so_that_huge_pages_fit)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, 640 * KIB },
		{ MIB, 3 * MIB + PAGE_SIZE },
		{ 4 * GIB, 2 * MIB },
		{ 8 * GIB + 2 * MIB - PAGE_SIZE, 4 * MIB },
	};
	struct guest_memory memory;
	unsigned int i;

	cr_assert_eq(guest_memory_init(&memory, ranges, 4, GUEST_MEMORY_THP),
		     0);
	for (i = 0; i < memory.region_count; i++) {
		const struct guest_memory_region *region = &memory.regions[i];

		cr_expect(is_aligned((uintptr_t)region->host - region->first,
				     2 * MIB));
		cr_expect(
			is_aligned(region->fd_offset - region->first, 2 * MIB));
		/* No two regions share a byte of the file. */
		if (i > 0)
			cr_expect_gt(region->fd_offset,
				     region[-1].fd_offset + region[-1].last -
					     region[-1].first);
		memset(region->host, 0x11 * (int)(i + 1),
		       region->last - region->first + 1);
	}
	for (i = 0; i < memory.region_count; i++) {
		const struct guest_memory_region *region = &memory.regions[i];
		uint8_t byte;

		cr_expect_eq(region->host[0], 0x11 * (i + 1));
		cr_expect_eq(region->host[region->last - region->first],
			     0x11 * (i + 1));
		/* The memfd holds what is written, where fd_offset says. */
		cr_assert_eq(pread(memory.fd, &byte, 1,
				   (off_t)region->fd_offset),
			     1);
		cr_expect_eq(byte, 0x11 * (i + 1));
	}
	guest_memory_destroy(&memory);
}

Test(guest_memory, destroy_gives_everything_back)
{
	unsigned int fds = open_fds();
	struct guest_memory memory;
	void *low;
	void *high;

	setup(&memory);
	cr_assert_eq(open_fds(), fds + 1);
	low = memory.regions[0].host;
	high = memory.regions[1].host;
	cr_assert(is_mapped(low) && is_mapped(high));
	cr_assert(is_mapped((char *)low - PAGE_SIZE));
	guest_memory_destroy(&memory);
	cr_assert_eq(open_fds(), fds);
	cr_assert(!is_mapped(low) && !is_mapped(high));
	cr_assert(!is_mapped((char *)low - PAGE_SIZE));
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

Test(guest_memory, bug05_the_pages_beside_a_region_cannot_be_touched)
{
	struct guest_memory memory;
	int pipe_fds[2];
	unsigned int i;

	setup(&memory);
	cr_assert_eq(pipe(pipe_fds), 0);
	for (i = 0; i < memory.region_count; i++) {
		uint8_t *first = memory.regions[i].host;
		uint8_t *last = first + (memory.regions[i].last -
					 memory.regions[i].first);

		/* The kernel looks, so that a fault is an error and no signal. */
		cr_assert_eq(write(pipe_fds[1], first, 1), 1);
		cr_assert_eq(write(pipe_fds[1], last, 1), 1);
		cr_assert_eq(write(pipe_fds[1], first - 1, 1), -1);
		cr_assert_eq(errno, EFAULT);
		cr_assert_eq(write(pipe_fds[1], last + 1, 1), -1);
		cr_assert_eq(errno, EFAULT);
	}
	guest_memory_destroy(&memory);
}

Test(guest_memory, five_gib_are_sparse_below_and_above_the_hole)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, 3 * GIB },
		{ 4 * GIB, 2 * GIB },
	};
	static const uint64_t places[] = { 0, 3 * GIB - 1, 4 * GIB,
					   6 * GIB - 1 };
	struct guest_memory memory;
	unsigned int i;

	cr_assert_eq(guest_memory_init(&memory, ranges, 2,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(memory.bytes, 5 * GIB);
	cr_assert_eq(bytes_present(&memory), 0);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		uint8_t *byte = guest_memory_host(&memory, GPA(places[i]), 1);

		cr_assert_not_null(byte);
		cr_assert_eq(*byte, 0);
		*byte = (uint8_t)(i + 1);
	}
	for (i = 0; i < ARRAY_SIZE(places); i++)
		cr_expect_eq(*(uint8_t *)guest_memory_host(&memory,
							   GPA(places[i]), 1),
			     i + 1);
	cr_expect_eq(bytes_present(&memory), ARRAY_SIZE(places) * PAGE_SIZE);
	guest_memory_destroy(&memory);
}

Test(guest_memory, more_ram_than_the_host_has_can_be_set_up)
{
	static const struct guest_memory_range range = { 0, 4096 * GIB };
	struct guest_memory memory;

	cr_assert_eq(guest_memory_init(&memory, &range, 1, GUEST_MEMORY_THP),
		     0);
	cr_assert_not_null(guest_memory_host(&memory, GPA(0), 4096 * GIB));
	guest_memory_destroy(&memory);
}

Test(guest_memory, no_address_space_is_an_error_that_leaves_nothing)
{
	/* More than 47 bits, in the second region: the first has to be undone. */
	static const struct guest_memory_range ranges[] = {
		{ 0, MIB },
		{ GIB, UINT64_C(1) << 48 },
	};
	unsigned int fds = open_fds();
	struct guest_memory memory;

	cr_assert_eq(guest_memory_init(&memory, ranges, 2,
				       GUEST_MEMORY_SMALL_PAGES),
		     -ENOMEM);
	cr_assert_eq(open_fds(), fds);
	cr_assert(!is_mapped(memory.regions[0].host));
}

Test(guest_memory, no_file_descriptor_is_an_error)
{
	struct rlimit limit;
	struct guest_memory memory;
	int err;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	err = guest_memory_init(&memory, low_and_high, 2,
				GUEST_MEMORY_SMALL_PAGES);
	limit.rlim_cur = limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_eq(err, -EMFILE);
}

Test(guest_memory, a_file_size_limit_is_an_error_that_leaves_nothing)
{
	unsigned int fds = open_fds();
	struct guest_memory memory;
	struct rlimit limit;
	int err;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = MIB;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	err = guest_memory_init(&memory, low_and_high, 2,
				GUEST_MEMORY_SMALL_PAGES);
	limit.rlim_cur = limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(err, -EFBIG);
	cr_assert_eq(open_fds(), fds);
}

/* A number from /sys/kernel/mm/hugepages; -1 when the host has none. */
static long pool_2m(const char *name)
{
	char path[128];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

Test(guest_memory, a_hugetlb_pool_that_is_too_small_is_an_error_at_init)
{
	struct guest_memory_range range = { 0, 0 };
	unsigned int fds = open_fds();
	struct guest_memory memory;
	unsigned long before;

	if (pool_2m("nr_hugepages") < 0)
		cr_skip_test("SKIP: the host's kernel has no 2 MiB pages");
	range.size = ((uint64_t)pool_2m("nr_hugepages") +
		      (uint64_t)pool_2m("nr_overcommit_hugepages") + 1) *
		     2 * MIB;
	before = address_space();
	cr_assert_eq(guest_memory_init(&memory, &range, 1, GUEST_MEMORY_2M),
		     -ENOMEM);
	cr_assert_eq(open_fds(), fds);
	cr_assert_lt(address_space(), before + 2 * MIB / PAGE_SIZE);
}

Test(guest_memory, hugetlb_pages_are_reserved_at_init_and_take_no_file)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, 2 * MIB },
		{ HIGH_FIRST, 2 * MIB },
	};
	struct guest_memory memory;
	char path[] = "/tmp/sluice-test-XXXXXX";
	long reserved;
	int fd;

	if (pool_2m("free_hugepages") - pool_2m("resv_hugepages") < 2)
		cr_skip_test(
			"SKIP: fewer than two free pages in the 2 MiB pool");
	reserved = pool_2m("resv_hugepages");
	cr_assert_eq(guest_memory_init(&memory, ranges, 2, GUEST_MEMORY_2M), 0);
	cr_assert_eq(pool_2m("resv_hugepages"), reserved + 2);
	memset(guest_memory_host(&memory, GPA(HIGH_FIRST), 2 * MIB), 0x5a,
	       2 * MIB);

	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(ftruncate(fd, PAGE_SIZE), 0);
	cr_assert_eq(guest_memory_map_file(&memory, GPA(0), fd, 0, PAGE_SIZE),
		     -EINVAL);
	close(fd);
	guest_memory_destroy(&memory);
	cr_assert_eq(pool_2m("resv_hugepages"), reserved);
}

struct range_case {
	const char *name;
	uint64_t gpa;
	uint64_t len;
	uint64_t reachable; /* what guest_memory_contiguous has to say */
};

/* Where a range is all RAM, reachable == len. */
/* clang-format off */
static const struct range_case range_cases[] = {
	{ "first byte", 0, 1, 1 },
	{ "all of a region", 0, LOW_SIZE, LOW_SIZE },
	{ "last byte", LOW_SIZE - 1, 1, 1 },
	{ "one past the end", LOW_SIZE - 1, 2, 1 },
	{ "all and one more", 0, LOW_SIZE + 1, LOW_SIZE },
	{ "first byte of the hole", LOW_SIZE, 1, 0 },
	{ "last byte of the hole", HIGH_FIRST - 1, 1, 0 },
	{ "from the hole into RAM", HIGH_FIRST - 1, 2, 0 },
	{ "first byte above the hole", HIGH_FIRST, 1, 1 },
	{ "last byte of all", HIGH_FIRST + HIGH_SIZE - 1, 1, 1 },
	{ "over the end of all", HIGH_FIRST + HIGH_SIZE - 1, 2, 1 },
	{ "past the end of all", HIGH_FIRST + HIGH_SIZE, 1, 0 },
	{ "RAM, hole, RAM", 0, HIGH_FIRST + HIGH_SIZE, LOW_SIZE },
	{ "last address", UINT64_MAX, 1, 0 },
	{ "wraps to 0", UINT64_MAX, 2, 0 },
	{ "wraps into RAM", -PAGE_SIZE, 2 * PAGE_SIZE, 0 },
	{ "longest", 0, UINT64_MAX, LOW_SIZE },
	{ "wraps onto itself", PAGE_SIZE, UINT64_MAX, LOW_SIZE - PAGE_SIZE },
	{ "ends at 2^64 - 1", HIGH_FIRST, -HIGH_FIRST, HIGH_SIZE },
	{ "wraps from RAM", HIGH_FIRST, -HIGH_FIRST + 1, HIGH_SIZE },
	{ "length 0 in RAM", 0, 0, 0 },
	{ "length 0 in the hole", LOW_SIZE, 0, 0 },
};
/* clang-format on */

Test(guest_memory, bug07_host_takes_no_range_with_a_byte_that_is_not_ram)
{
	struct guest_memory memory;
	unsigned int i;

	setup(&memory);
	for (i = 0; i < ARRAY_SIZE(range_cases); i++) {
		const struct range_case *c = &range_cases[i];
		void *host = guest_memory_host(&memory, GPA(c->gpa), c->len);

		if (c->len == 0 || c->reachable < c->len)
			cr_expect_null(host, "%s", c->name);
		else if (c->gpa < HIGH_FIRST)
			cr_expect_eq(host, memory.regions[0].host + c->gpa,
				     "%s", c->name);
		else
			cr_expect_eq(host,
				     memory.regions[1].host +
					     (c->gpa - HIGH_FIRST),
				     "%s", c->name);
	}
	guest_memory_destroy(&memory);
}

Test(guest_memory, bug07_contiguous_stops_at_the_end_of_ram)
{
	struct guest_memory memory;
	unsigned int i;

	setup(&memory);
	for (i = 0; i < ARRAY_SIZE(range_cases); i++) {
		const struct range_case *c = &range_cases[i];
		void *host = NULL;
		uint64_t reachable = guest_memory_contiguous(
			&memory, GPA(c->gpa), c->len, &host);

		cr_expect_eq(reachable, c->reachable, "%s: %#lx", c->name,
			     reachable);
		if (reachable > 0)
			cr_expect_eq(host,
				     guest_memory_host(&memory, GPA(c->gpa), 1),
				     "%s", c->name);
	}
	guest_memory_destroy(&memory);
}

Test(guest_memory, bug05_a_range_over_two_touching_regions_is_not_one_piece)
{
	static const struct guest_memory_range ranges[] = { { 0, MIB },
							    { MIB, MIB } };
	struct guest_memory memory;
	void *host;

	cr_assert_eq(guest_memory_init(&memory, ranges, 2,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_null(guest_memory_host(&memory, GPA(MIB - 1), 2));
	cr_assert_eq(guest_memory_contiguous(&memory, GPA(MIB - 1), 2, &host),
		     1);
	cr_assert_eq(guest_memory_contiguous(&memory, GPA(MIB), 2, &host), 2);
	cr_assert_eq(host, memory.regions[1].host);
	guest_memory_destroy(&memory);
}

#define FILE_SIZE (3 * PAGE_SIZE + 100)

static uint8_t file_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / PAGE_SIZE + 1) | 1; /* never 0 */
}

/* FILE_SIZE bytes of file_byte, opened read-only. */
static int make_file(void)
{
	char path[] = "/tmp/sluice-test-XXXXXX";
	uint8_t bytes[FILE_SIZE];
	int writer = mkstemp(path);
	unsigned int i;
	int fd;

	cr_assert_geq(writer, 0);
	for (i = 0; i < FILE_SIZE; i++)
		bytes[i] = file_byte(i);
	cr_assert_eq(write(writer, bytes, FILE_SIZE), FILE_SIZE);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(unlink(path), 0);
	close(writer);
	return fd;
}

Test(guest_memory, map_file_shows_the_file_and_zeroes_to_the_end_of_the_page)
{
	static const struct {
		const char *name;
		uint64_t gpa;
		uint64_t offset;
		uint64_t len;
	} cases[] = {
		{ "whole file, odd tail", 0, 0, FILE_SIZE },
		{ "whole pages", MIB, 0, 2 * PAGE_SIZE },
		{ "one page from the middle", MIB, PAGE_SIZE, PAGE_SIZE },
		{ "ends in a page that goes on in the file", MIB, 0,
		  PAGE_SIZE + 10 },
		{ "less than a page", MIB, PAGE_SIZE, 1 },
		{ "only the tail", MIB, 3 * PAGE_SIZE, 100 },
		{ "at the end of RAM", LOW_SIZE - PAGE_SIZE, 0, 1 },
		{ "above the hole", HIGH_FIRST, 0, FILE_SIZE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t pages = align_up(cases[i].len, PAGE_SIZE);
		struct guest_memory memory;
		int fd = make_file();
		uint8_t *host;
		uint64_t at;

		setup(&memory);
		host = guest_memory_host(&memory, GPA(cases[i].gpa), pages);
		memset(host, 0xee, pages); /* no longer zero by chance */
		cr_assert_eq(guest_memory_map_file(&memory, GPA(cases[i].gpa),
						   fd, cases[i].offset,
						   cases[i].len),
			     0, "%s", cases[i].name);
		close(fd);
		for (at = 0; at < pages; at++) {
			uint8_t want = at < cases[i].len
					       ? file_byte(cases[i].offset + at)
					       : 0;

			cr_assert_eq(host[at], want, "%s: byte %lu",
				     cases[i].name, at);
		}
		guest_memory_destroy(&memory);
	}
}

Test(guest_memory, map_file_leaves_its_neighbours_alone)
{
	struct guest_memory memory;
	int fd = make_file();
	uint8_t *host;

	setup(&memory);
	host = guest_memory_host(&memory, GPA(MIB), 6 * PAGE_SIZE);
	memset(host, 0xee, 6 * PAGE_SIZE);
	cr_assert_eq(guest_memory_map_file(&memory, GPA(MIB + PAGE_SIZE), fd, 0,
					   FILE_SIZE),
		     0);
	cr_assert_eq(host[PAGE_SIZE - 1], 0xee);
	cr_assert_eq(host[PAGE_SIZE], file_byte(0));
	cr_assert_eq(host[5 * PAGE_SIZE - 1], 0);
	cr_assert_eq(host[5 * PAGE_SIZE], 0xee);
	close(fd);
	guest_memory_destroy(&memory);
}

Test(guest_memory, the_guests_writes_do_not_reach_the_mapped_file)
{
	struct guest_memory memory;
	int fd = make_file();
	uint8_t bytes[FILE_SIZE];
	uint8_t *host;
	unsigned int i;

	setup(&memory);
	cr_assert_eq(guest_memory_map_file(&memory, GPA(0), fd, 0, FILE_SIZE),
		     0);
	host = guest_memory_host(&memory, GPA(0), FILE_SIZE);
	memset(host, 0xaa, FILE_SIZE);
	cr_assert_eq(host[PAGE_SIZE], 0xaa);
	cr_assert_eq(pread(fd, bytes, FILE_SIZE, 0), FILE_SIZE);
	for (i = 0; i < FILE_SIZE; i++)
		cr_assert_eq(bytes[i], file_byte(i), "byte %u", i);
	close(fd);
	guest_memory_destroy(&memory);
}

Test(guest_memory, mapped_pages_are_not_copied)
{
	struct guest_memory memory;
	int fd = make_file();

	setup(&memory);
	cr_assert_eq(guest_memory_map_file(&memory, GPA(0), fd, 0, FILE_SIZE),
		     0);
	cr_assert_eq(bytes_present(&memory), PAGE_SIZE); /* the tail */
	close(fd);
	guest_memory_destroy(&memory);
}

Test(guest_memory, map_file_refuses_what_it_cannot_map_whole)
{
	static const struct {
		const char *name;
		uint64_t gpa;
		uint64_t offset;
		uint64_t len;
	} cases[] = {
		{ "length 0", 0, 0, 0 },
		{ "gpa not aligned", 1, 0, PAGE_SIZE },
		{ "gpa not aligned, tail only", 1, 0, 1 },
		{ "offset not aligned", 0, 1, PAGE_SIZE },
		{ "offset not aligned, tail only", 0, 1, 1 },
		{ "hole", LOW_SIZE, 0, PAGE_SIZE },
		{ "over the end of RAM", LOW_SIZE - PAGE_SIZE, 0,
		  PAGE_SIZE + 1 },
		{ "one byte more than the file", 0, 0, FILE_SIZE + 1 },
		{ "behind the file", 0, 4 * PAGE_SIZE, 1 },
		{ "offset wraps", 0, -PAGE_SIZE, 2 * PAGE_SIZE },
		{ "gpa wraps", -PAGE_SIZE, 0, 2 * PAGE_SIZE },
		{ "length near 2^64", 0, 0, UINT64_MAX },
	};
	struct guest_memory memory;
	int fd = make_file();
	unsigned int i;

	setup(&memory);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(guest_memory_map_file(&memory, GPA(cases[i].gpa),
						   fd, cases[i].offset,
						   cases[i].len),
			     -EINVAL, "%s", cases[i].name);
	cr_assert_eq(bytes_present(&memory), 0);
	close(fd);
	guest_memory_destroy(&memory);
}

Test(guest_memory, map_file_reports_a_file_that_cannot_be_mapped)
{
	struct guest_memory memory;
	char path[] = "/tmp/sluice-test-XXXXXX";
	int pipe_fds[2];
	int writer;

	setup(&memory);
	cr_expect_eq(guest_memory_map_file(&memory, GPA(0), -1, 0, PAGE_SIZE),
		     -EBADF);

	cr_assert_eq(pipe(pipe_fds), 0);
	cr_expect_eq(guest_memory_map_file(&memory, GPA(0), pipe_fds[0], 0,
					   PAGE_SIZE),
		     -EINVAL);

	/* Open for writing only: pread (the tail) and mmap (the rest) refuse. */
	writer = mkstemp(path);
	cr_assert_geq(writer, 0);
	close(writer);
	writer = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(ftruncate(writer, PAGE_SIZE + 1), 0);
	cr_expect_eq(guest_memory_map_file(&memory, GPA(0), writer, 0,
					   PAGE_SIZE + 1),
		     -EBADF);
	cr_expect_eq(guest_memory_map_file(&memory, GPA(0), writer, 0,
					   PAGE_SIZE),
		     -EACCES);
	close(writer);
	guest_memory_destroy(&memory);
}
