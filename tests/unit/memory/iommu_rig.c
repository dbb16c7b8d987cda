/* SPDX-License-Identifier: Apache-2.0 */
#include "iommu_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void answer(void *context, uint64_t cookie, enum iommu_status status)
{
	struct rig *rig = context;

	cr_assert_lt(rig->answer_count, ARRAY_SIZE(rig->answers));
	rig->answers[rig->answer_count++] =
		(struct rig_answer){ cookie, status };
}

static void quiet(void *context)
{
	struct rig *rig = context;

	rig->quiet_count++;
}

static const struct iommu_answers answers = { answer, quiet };

void rig_setup(struct rig *rig, bool bypass)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, RIG_LOW_END },
		{ RIG_MIDDLE, 4 * MIB },
		{ RIG_HIGH, RIG_HIGH_END - RIG_HIGH },
	};
	const struct iommu_config config = {
		.input_bits = RIG_BITS,
		.domain_first = 1,
		.domain_last = 100,
		.endpoints_max = 2,
		.requests_max = RIG_REQUESTS,
		.faults_max = 16,
		.tables = 8 * MIB,
		.bypass = bypass,
	};
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	cr_assert_eq(guest_memory_init(&rig->memory, ranges, ARRAY_SIZE(ranges),
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(iommu_init(&rig->iommu, &config), 0);
	iommu_set_answers(&rig->iommu, &answers, rig);
	cr_assert_eq(iommu_reserve(&rig->iommu, IOVA(RIG_MSI),
				   IOVA(RIG_MSI_LAST), IOMMU_RESERVED_MSI),
		     0);
	rig->first = iommu_add_endpoint(&rig->iommu, RIG_FIRST);
	rig->second = iommu_add_endpoint(&rig->iommu, RIG_SECOND);
	cr_assert(rig->first && rig->second);
	for (i = 0; i < 3; i++) {
		cr_assert_eq(dma_init(&rig->doors[i], &rig->memory, RIG_HEADS),
			     0);
		cr_assert_eq(dma_attach_endpoint(&rig->doors[i],
						 i < 2 ? rig->first
						       : rig->second),
			     0);
	}
}

void rig_teardown(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		dma_reset(&rig->doors[i]);
		dma_destroy(&rig->doors[i]);
	}
	iommu_destroy(&rig->iommu);
	guest_memory_destroy(&rig->memory);
}

/* Ends a drain with one request in it. */
static enum iommu_status end(struct rig *rig, unsigned int before,
			     enum iommu_status status)
	LOCK_RELEASES(&rig->iommu.lock)
{
	iommu_finish(&rig->iommu);
	iommu_end(&rig->iommu);
	if (status == IOMMU_DEFERRED && rig->answer_count > before)
		return rig->answers[rig->answer_count - 1].status;
	return status;
}

enum iommu_status rig_attach(struct rig *rig, uint32_t domain,
			     uint32_t endpoint, uint32_t flags)
{
	unsigned int before = rig->answer_count;

	iommu_begin(&rig->iommu);
	return end(rig, before,
		   iommu_attach(&rig->iommu, domain, endpoint, flags, 1));
}

enum iommu_status rig_detach(struct rig *rig, uint32_t domain,
			     uint32_t endpoint)
{
	unsigned int before = rig->answer_count;

	iommu_begin(&rig->iommu);
	return end(rig, before, iommu_detach(&rig->iommu, domain, endpoint, 2));
}

enum iommu_status rig_map(struct rig *rig, uint32_t domain, uint64_t first,
			  uint64_t last, uint64_t physical, uint32_t flags)
{
	unsigned int before = rig->answer_count;

	iommu_begin(&rig->iommu);
	return end(rig, before,
		   iommu_map(&rig->iommu, domain, IOVA(first), IOVA(last),
			     GPA(physical), flags));
}

enum iommu_status rig_unmap(struct rig *rig, uint32_t domain, uint64_t first,
			    uint64_t last)
{
	unsigned int before = rig->answer_count;

	iommu_begin(&rig->iommu);
	return end(rig, before,
		   iommu_unmap(&rig->iommu, domain, IOVA(first), IOVA(last),
			       first));
}

int rig_reset(struct rig *rig)
{
	int err;

	iommu_begin(&rig->iommu);
	err = iommu_reset(&rig->iommu);
	iommu_end(&rig->iommu);
	return err;
}

int rig_set_bypass(struct rig *rig, bool bypass)
{
	int err;

	iommu_begin(&rig->iommu);
	err = iommu_set_bypass(&rig->iommu, bypass);
	iommu_end(&rig->iommu);
	return err;
}

bool rig_is_quiet(struct rig *rig)
{
	bool is_quiet;

	iommu_begin(&rig->iommu);
	is_quiet = iommu_is_quiet(&rig->iommu);
	iommu_end(&rig->iommu);
	return is_quiet;
}

const struct dma_span *rig_publish(struct dma *door, uint16_t head,
				   uint64_t first, uint32_t len,
				   enum dma_access access)
{
	struct dma_span span = { IOVA(first), len, access };
	const struct dma_span *published = NULL;

	cr_assert_eq(dma_publish(door, head, &span, 1, &published), 0);
	dma_commit(door);
	return published;
}

/* The last head is the rig's own. */
#define OWN_HEAD (RIG_HEADS - 1)

void *rig_reach(struct dma *door, uint64_t first, uint32_t len,
		enum dma_access access)
{
	const struct dma_span *span =
		rig_publish(door, OWN_HEAD, first, len, access);
	struct dma_position position = { 0 };
	struct dma_fault fault;
	struct iovec iov[2];
	int count = dma_translate(door, span, 1, access, len, &position, iov, 2,
				  &fault);

	dma_clear(door, OWN_HEAD);
	dma_settle(door);
	return count == 1 && iov[0].iov_len == len ? iov[0].iov_base : NULL;
}

bool rig_faults(struct dma *door, uint64_t first, uint32_t len,
		enum dma_access access, enum fault_reason reason,
		uint64_t address)
{
	const struct dma_span *span =
		rig_publish(door, OWN_HEAD, first, len, access);
	struct dma_position position = { 0 };
	struct dma_fault fault = { .access = 0 };
	struct iovec iov[16];
	int count = dma_translate(door, span, 1, access, len, &position, iov,
				  ARRAY_SIZE(iov), &fault);

	dma_clear(door, OWN_HEAD);
	dma_settle(door);
	return count == -EFAULT && fault.access == access &&
	       fault.reason == reason && fault.address.v == address;
}

void *rig_host(struct rig *rig, uint64_t gpa)
{
	return guest_memory_host(&rig->memory, GPA(gpa), 1);
}
