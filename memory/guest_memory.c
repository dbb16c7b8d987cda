/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Each region is one shared mapping of the memfd, in the
 * middle of address space that was reserved for it: at least one inaccessible
 * page stays on either side, and the mapping can be placed so that host address,
 * guest address and file offset agree modulo 2 MiB. Without that agreement
 * neither the page cache nor KVM's tables can use a huge page, whatever the
 * advice says. The file has holes where the offsets are rounded up; they cost
 * nothing.
 *
 * Memory is not reserved (shmem counts a page when it is first touched, and
 * MAP_NORESERVE would add nothing), with the one exception of hugetlb: there
 * mmap takes the pages out of the pool or fails, which is a message at start
 * rather than a SIGBUS later. MAP_NORESERVE would lose that.
 */
#include "memory/guest_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/base.h"

#define HUGE_SIZE (2 * MIB)

/* Room to place a region at any offset in a huge page, and two guard pages. */
#define RESERVED_EXTRA (2 * HUGE_SIZE)

/* linux/memfd.h has it, but not beside glibc's sys/mman.h. */
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif

static bool ranges_are_valid(const struct guest_memory_range *ranges,
			     unsigned int count, uint64_t alignment)
{
	uint64_t free_from = 0;
	uint64_t last;
	unsigned int i;

	if (count == 0 || count > GUEST_MEMORY_REGIONS_MAX)
		return false;
	for (i = 0; i < count; i++) {
		if (!is_aligned(ranges[i].first, alignment) ||
		    !is_aligned(ranges[i].size, alignment) ||
		    !range_last(ranges[i].first, ranges[i].size, &last) ||
		    last >= GUEST_MEMORY_END || ranges[i].first < free_from)
			return false;
		free_from = last + 1;
	}
	return true;
}

/* Gives each region its addresses and its place in the file; maps nothing. */
static uint64_t plan_regions(struct guest_memory *memory,
			     const struct guest_memory_range *ranges,
			     unsigned int count)
{
	uint64_t file_size = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct guest_memory_region *region = &memory->regions[i];

		region->first = ranges[i].first;
		region->last = ranges[i].first + (ranges[i].size - 1);
		region->fd_offset = align_up(file_size, HUGE_SIZE) +
				    (region->first & (HUGE_SIZE - 1));
		file_size = region->fd_offset + ranges[i].size;
		memory->bytes += ranges[i].size;
	}
	return file_size;
}

static int map_region(struct guest_memory_region *region, int fd,
		      enum guest_memory_pages pages)
{
	size_t size = region->last - region->first + 1;
	uint64_t address;
	int err;

	region->reserved_size = size + RESERVED_EXTRA;
	region->reserved = mmap(NULL, region->reserved_size, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region->reserved == MAP_FAILED)
		return -errno;

	address = align_up((uintptr_t)region->reserved + PAGE_SIZE, HUGE_SIZE) +
		  (region->first & (HUGE_SIZE - 1));
	region->host = (uint8_t *)region->reserved +
		       (address - (uintptr_t)region->reserved);
	if (mmap(region->host, size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd,
		 (off_t)region->fd_offset) == MAP_FAILED) {
		err = -errno;
		munmap(region->reserved, region->reserved_size);
		return err;
	}

	/* Advice: a kernel that does not know it refuses, and RAM works all the same. */
	madvise(region->host, size, MADV_DONTDUMP);
	if (pages == GUEST_MEMORY_SMALL_PAGES)
		madvise(region->host, size, MADV_NOHUGEPAGE);
	else if (pages == GUEST_MEMORY_THP)
		madvise(region->host, size, MADV_HUGEPAGE);
	return 0;
}

int guest_memory_init(struct guest_memory *memory,
		      const struct guest_memory_range *ranges,
		      unsigned int count, enum guest_memory_pages pages)
{
	bool huge = pages == GUEST_MEMORY_2M;
	uint64_t file_size;
	int err;

	if (!ranges_are_valid(ranges, count, huge ? HUGE_SIZE : PAGE_SIZE))
		return -EINVAL;

	memset(memory, 0, sizeof(*memory));
	memory->pages = pages;
	file_size = plan_regions(memory, ranges, count);

	memory->fd = memfd_create(
		"guest-ram",
		MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (memory->fd < 0)
		return -errno;
	if (ftruncate(memory->fd, (off_t)file_size) < 0) {
		err = -errno;
		goto err_destroy;
	}
	while (memory->region_count < count) {
		err = map_region(&memory->regions[memory->region_count],
				 memory->fd, pages);
		if (err)
			goto err_destroy;
		memory->region_count++;
	}
	return 0;

err_destroy:
	guest_memory_destroy(memory);
	return err;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	while (memory->region_count > 0) {
		struct guest_memory_region *region =
			&memory->regions[--memory->region_count];

		munmap(region->reserved, region->reserved_size);
	}
	close(memory->fd);
	memory->fd = -1;
}

void *guest_memory_host(const struct guest_memory *memory, gpa_t gpa,
			uint64_t len)
{
	void *host;

	/* No region is near 2^64, so a range that passes it is cut off at its end. */
	if (len == 0 || guest_memory_contiguous(memory, gpa, len, &host) != len)
		return NULL;
	return host;
}

/* Fills @page with @len bytes of @fd at @fd_offset, and zeroes. */
static int read_tail(int fd, uint64_t fd_offset, size_t len, uint8_t *page)
{
	ssize_t got = pread(fd, page, len, (off_t)fd_offset);

	if (got < 0)
		return -errno;
	if ((size_t)got != len)
		return -EINVAL;
	memset(page + len, 0, PAGE_SIZE - len);
	return 0;
}

int guest_memory_map_file(struct guest_memory *memory, gpa_t gpa, int fd,
			  uint64_t fd_offset, uint64_t len)
{
	uint8_t *host = guest_memory_host(memory, gpa, len);
	uint64_t whole = align_down(len, PAGE_SIZE);
	struct stat status;
	uint64_t last;
	int err;

	if (!host || memory->pages == GUEST_MEMORY_2M ||
	    !is_aligned(gpa.v, PAGE_SIZE) || !is_aligned(fd_offset, PAGE_SIZE))
		return -EINVAL;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!range_last(fd_offset, len, &last) ||
	    last >= (uint64_t)status.st_size)
		return -EINVAL;

	/*
	 * The kernel zeroes the rest of a file's last page, but only of that one:
	 * where the file goes on, the guest would see what follows.
	 */
	if (whole < len) {
		err = read_tail(fd, fd_offset + whole, (size_t)(len - whole),
				host + whole);
		if (err)
			return err;
	}
	if (whole > 0) {
		if (mmap(host, whole, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED, fd,
			 (off_t)fd_offset) == MAP_FAILED)
			return -errno;
		madvise(host, whole, MADV_DONTDUMP);
	}
	return 0;
}
