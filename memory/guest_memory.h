/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: one memfd, sparse, mapped once per region. The regions are those
 * that the platform leaves to RAM (below and above the hole that ends at
 * 4 GiB); what lies between them is not RAM, and no function here ever
 * returns a pointer into it.
 *
 * Built before the VM starts and constant until it ends, so every thread may
 * read it without a lock.
 */
#ifndef MEMORY_GUEST_MEMORY_H
#define MEMORY_GUEST_MEMORY_H

#include "memory/addr.h"
#include "memory/base.h"

#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_REGIONS_MAX 4

/* x86 has no physical address of more than 52 bits. */
#define GUEST_MEMORY_END (UINT64_C(1) << 52)

enum guest_memory_pages {
	GUEST_MEMORY_SMALL_PAGES, /* 4 KiB pages, MADV_NOHUGEPAGE */
	GUEST_MEMORY_THP, /* transparent huge pages where the host gives them */
	GUEST_MEMORY_2M, /* pages reserved in the host's hugetlb pool */
};

/*
 * RAM at [first, first + size): size > 0, both multiples of PAGE_SIZE, or of
 * 2 MiB with GUEST_MEMORY_2M, all of it below GUEST_MEMORY_END.
 */
struct guest_memory_range {
	uint64_t first;
	uint64_t size;
};

/*
 * @first, @host and @fd_offset are equal modulo 2 MiB, so that the host can back
 * the region with huge pages and KVM can map them as such.
 */
struct guest_memory_region {
	uint64_t first; /* guest-physical */
	uint64_t last; /* inclusive */
	uint8_t *host; /* where @first is mapped in this process */
	uint64_t fd_offset; /* where @first lies in the memfd */
	void *reserved; /* the region's address space, guard pages included */
	size_t reserved_size;
};

struct guest_memory {
	int fd; /* the memfd, owned */
	enum guest_memory_pages pages;
	unsigned int region_count;
	struct guest_memory_region regions[GUEST_MEMORY_REGIONS_MAX];
	uint64_t bytes; /* sum of the regions */
};

/*
 * Reserves RAM for the @count @ranges: 1 to GUEST_MEMORY_REGIONS_MAX, ascending,
 * not overlapping; they may touch, and stay separate regions then. Nothing is
 * touched: pages appear as they are written, so a guest may have more RAM than
 * the host has free. Only GUEST_MEMORY_2M takes its pages out of the host's pool
 * here and now. Returns 0, or -EINVAL (ranges), -ENOMEM (address space, or too
 * few pages in the hugetlb pool), or what memfd_create, ftruncate or mmap say.
 */
int guest_memory_init(struct guest_memory *memory,
		      const struct guest_memory_range *ranges,
		      unsigned int count, enum guest_memory_pages pages);

/* Unmaps and closes. No thread may hold a pointer into it any more. */
void guest_memory_destroy(struct guest_memory *memory);

/*
 * The host address of @len bytes at @gpa, all of them in one region; NULL when
 * any byte is not RAM, when @len is 0, or when the range passes 2^64.
 */
void *guest_memory_host(const struct guest_memory *memory, gpa_t gpa,
			uint64_t len);

/*
 * How many bytes, at most @len, can be reached at *@host, where @gpa is: up to
 * the end of its region. 0, and *@host means nothing, when the byte at @gpa is
 * not RAM or @len is 0. The body is here because every miss comes through.
 */
static inline uint64_t
guest_memory_contiguous(const struct guest_memory *memory, gpa_t gpa,
			uint64_t len, void **host)
{
	unsigned int i;

	for (i = 0; i < memory->region_count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];
		uint64_t offset = gpa.v - region->first;
		uint64_t last_offset = region->last - region->first;

		/* Below the region, the difference wraps to more than it holds. */
		if (offset > last_offset)
			continue;
		*host = region->host + offset;
		return MIN(len, last_offset - offset + 1);
	}
	return 0;
}

/*
 * Puts @len bytes of the regular file @fd from @fd_offset on into RAM at @gpa,
 * for files that the guest gets whole (kernel, initrd): whole pages are mapped
 * copy-on-write, the tail that fills no page is copied, and the rest of its page
 * reads as zero. @gpa and @fd_offset are page-aligned. The file never sees what
 * the guest writes; but a page that the guest has not written yet follows the
 * file, so the file has to stay as it is while the VM runs (a truncated one is
 * SIGBUS on the next touch). The mapped pages are not in the memfd: whoever
 * looks at RAM through the memfd finds zeroes there.
 *
 * @fd stays the caller's. Set-up only, before any vCPU runs. Returns 0; -EINVAL
 * (alignment, not RAM, @len 0, hugetlb memory, the file is shorter); or what
 * fstat, pread or mmap say. After a failure the range holds anything, and the
 * caller reads the file into place instead.
 */
int guest_memory_map_file(struct guest_memory *memory, gpa_t gpa, int fd,
			  uint64_t fd_offset, uint64_t len);

#endif
