/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device addresses go up from 4 GiB without a gap, as those of a driver that has
 * just started; guest addresses likewise, one buffer further on, so that no
 * mapping is aligned to 2 MiB in both and each page has a word of its own. RAM is
 * 1 GiB on either side of the hole, and where the buffers are more than that they
 * share it: a translation touches no RAM.
 */
#include "cli/bench_rig.h"

#include "devices/error.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_SIZE GIB

/* Of the tables; a million mappings of 64 KiB take 128 MiB. */
#define TABLES (256 * MIB)

enum { ENDPOINT_MAPPED = 1, ENDPOINT_BYPASS, ENDPOINTS = 2 };

static void rig_answer(void *context, uint64_t cookie, enum iommu_status status)
{
	struct bench_rig *rig = context;

	(void)cookie;
	rig->refused += status != IOMMU_OK;
}

/* Nobody waits: there is one thread. */
static void rig_quiet(void *context)
{
	(void)context;
}

static const struct iommu_answers rig_answers = { rig_answer, rig_quiet };

static void rig_count(struct bench_rig *rig, enum iommu_status status)
{
	rig->refused += status != IOMMU_OK && status != IOMMU_DEFERRED;
}

/* The guest address of buffer @i. */
static uint64_t rig_physical(const struct bench_rig *rig, size_t i)
{
	return 4 * GIB + (i + 1) * rig->buffer_size % RAM_SIZE;
}

static int rig_map_memory(struct bench_rig *rig)
{
	const struct guest_memory_range ranges[] = {
		{ 0, RAM_SIZE },
		{ 4 * GIB, RAM_SIZE },
	};

	return guest_memory_init(&rig->memory, ranges, ARRAY_SIZE(ranges),
				 GUEST_MEMORY_SMALL_PAGES);
}

static int rig_init_iommu(struct bench_rig *rig)
{
	const struct iommu_config config = {
		.input_bits = 37,
		.domain_first = 0,
		.domain_last = UINT32_MAX,
		.endpoints_max = ENDPOINTS,
		.requests_max = 2 * BENCH_DRAIN_MAX,
		.faults_max = 16,
		.tables = TABLES,
	};
	int err = iommu_init(&rig->iommu, &config);

	if (!err)
		iommu_set_answers(&rig->iommu, &rig_answers, rig);
	return err;
}

/* A door of endpoint @id, or of none for 0. */
static int rig_open_door(struct bench_rig *rig, struct dma *door, uint32_t id)
{
	struct iommu_endpoint *endpoint;
	int err = dma_init(door, &rig->memory, BENCH_HEADS);

	if (err || id == 0)
		return err;
	endpoint = iommu_add_endpoint(&rig->iommu, id);
	assert(endpoint);
	err = dma_attach_endpoint(door, endpoint);
	if (err)
		dma_destroy(door);
	return err;
}

static int rig_open_doors(struct bench_rig *rig)
{
	int err = rig_open_door(rig, &rig->off, 0);

	if (err)
		return err;
	err = rig_open_door(rig, &rig->bypass, ENDPOINT_BYPASS);
	if (err)
		goto err_destroy_off;
	err = rig_open_door(rig, &rig->mapped, ENDPOINT_MAPPED);
	if (err)
		goto err_destroy_bypass;
	return 0;

err_destroy_bypass:
	dma_destroy(&rig->bypass);
err_destroy_off:
	dma_destroy(&rig->off);
	return err;
}

static void rig_close_doors(struct bench_rig *rig)
{
	dma_destroy(&rig->mapped);
	dma_destroy(&rig->bypass);
	dma_destroy(&rig->off);
}

/* The same shuffle in each run. */
static void rig_shuffle(struct bench_rig *rig)
{
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
	size_t i;

	for (i = 0; i < rig->buffer_count; i++)
		rig->shuffled[i] = (uint32_t)i;
	for (i = rig->buffer_count - 1; i > 0; i--) {
		uint32_t taken = rig->shuffled[i];
		size_t other;

		/* xorshift */
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		other = random % (i + 1);
		rig->shuffled[i] = rig->shuffled[other];
		rig->shuffled[other] = taken;
	}
}

static int rig_init_addresses(struct bench_rig *rig)
{
	size_t pages = rig->buffer_count * (rig->buffer_size / PAGE_SIZE);

	rig->shuffled = calloc(rig->buffer_count, sizeof(*rig->shuffled));
	if (!rig->shuffled)
		return -ENOMEM;
	rig->array_bytes = align_up(pages * sizeof(*rig->array), PAGE_SIZE);
	rig->array = mmap(NULL, rig->array_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rig->array == MAP_FAILED) {
		free(rig->shuffled);
		return -ENOMEM;
	}
	madvise(rig->array, rig->array_bytes, MADV_NOHUGEPAGE);
	rig_shuffle(rig);
	for (size_t i = 0; i < pages; i++)
		rig->array[i] = guest_memory_host(
			&rig->memory,
			GPA(4 * GIB +
			    (rig->buffer_size + i * PAGE_SIZE) % RAM_SIZE),
			PAGE_SIZE);
	return 0;
}

/* Attaches both endpoints and maps all buffers. */
static void rig_fill_map(struct bench_rig *rig)
{
	size_t each = rig->buffer_count / rig->mappings;

	iommu_begin(&rig->iommu);
	rig_count(rig, iommu_attach(&rig->iommu, BENCH_DOMAIN, ENDPOINT_MAPPED,
				    0, 0));
	rig_count(rig, iommu_attach(&rig->iommu, BENCH_DOMAIN + 1,
				    ENDPOINT_BYPASS, IOMMU_ATTACH_BYPASS, 0));
	for (size_t i = 0; i < rig->buffer_count; i += each)
		rig_count(rig,
			  iommu_map(&rig->iommu, BENCH_DOMAIN,
				    IOVA(bench_rig_buffer(rig, i)),
				    IOVA(bench_rig_buffer(rig, i + each) - 1),
				    GPA(rig_physical(rig, i)),
				    IOMMU_MAP_READ | IOMMU_MAP_WRITE));
	iommu_finish(&rig->iommu);
	iommu_end(&rig->iommu);
}

int bench_rig_init(struct bench_rig *rig, uint64_t buffer_size,
		   uint64_t mappings, struct error *error)
{
	int err;

	memset(rig, 0, sizeof(*rig));
	rig->mappings = mappings;
	rig->buffer_size = buffer_size;
	rig->buffer_count = mappings == 1 ? BENCH_BUFFERS_MIN : mappings;

	err = rig_map_memory(rig);
	if (err)
		goto err_say;
	err = rig_init_iommu(rig);
	if (err)
		goto err_destroy_memory;
	err = rig_open_doors(rig);
	if (err)
		goto err_destroy_iommu;
	err = rig_init_addresses(rig);
	if (err)
		goto err_close_doors;
	rig_fill_map(rig);
	return 0;

err_close_doors:
	rig_close_doors(rig);
err_destroy_iommu:
	iommu_destroy(&rig->iommu);
err_destroy_memory:
	guest_memory_destroy(&rig->memory);
err_say:
	return error_set(error, EXIT_STATUS_HOST,
			 "bench: memory for %llu mappings: %s",
			 (unsigned long long)mappings, strerror(-err));
}

void bench_rig_destroy(struct bench_rig *rig)
{
	munmap(rig->array, rig->array_bytes);
	free(rig->shuffled);
	rig_close_doors(rig);
	iommu_destroy(&rig->iommu);
	guest_memory_destroy(&rig->memory);
}

void bench_rig_map(struct bench_rig *rig, unsigned int count)
{
	iommu_begin(&rig->iommu);
	for (size_t i = 0; i < count; i++) {
		size_t buffer = rig->buffer_count + i;

		rig_count(rig,
			  iommu_map(&rig->iommu, BENCH_DOMAIN,
				    IOVA(bench_rig_buffer(rig, buffer)),
				    IOVA(bench_rig_buffer(rig, buffer + 1) - 1),
				    GPA(rig_physical(rig, i)),
				    IOMMU_MAP_READ | IOMMU_MAP_WRITE));
	}
	iommu_finish(&rig->iommu);
	iommu_end(&rig->iommu);
}

void bench_rig_unmap(struct bench_rig *rig, unsigned int count)
{
	iommu_begin(&rig->iommu);
	for (size_t i = 0; i < count; i++) {
		size_t buffer = rig->buffer_count + i;

		rig_count(
			rig,
			iommu_unmap(&rig->iommu, BENCH_DOMAIN,
				    IOVA(bench_rig_buffer(rig, buffer)),
				    IOVA(bench_rig_buffer(rig, buffer + 1) - 1),
				    i));
	}
	iommu_finish(&rig->iommu);
	iommu_end(&rig->iommu);
}
