/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the IOMMU and of doors behind it share: RAM, an IOMMU with
 * two endpoints, three doors, and a front end that notes down what it is told.
 */
#ifndef TESTS_UNIT_MEMORY_IOMMU_RIG_H
#define TESTS_UNIT_MEMORY_IOMMU_RIG_H

#include "memory/dma.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"

#define RIG_BITS 36
#define RIG_END (UINT64_C(1) << RIG_BITS)

/* RAM: [0, 4 MiB - 64 KiB), [64 MiB, 68 MiB), 1 MiB above 4 GiB. */
#define RIG_LOW_END (4 * MIB - 64 * KIB)
#define RIG_MIDDLE (64 * MIB)
#define RIG_HIGH (4 * GIB)
#define RIG_HIGH_END (4 * GIB + MIB)

#define RIG_HEADS 64
#define RIG_REQUESTS 8

/* Endpoint 7 has two doors, endpoint UINT32_MAX one. */
#define RIG_FIRST 7U
#define RIG_SECOND UINT32_MAX

#define RIG_MSI UINT64_C(0xfee00000)
#define RIG_MSI_LAST UINT64_C(0xfeefffff)

struct rig_answer {
	uint64_t cookie;
	enum iommu_status status;
};

struct rig {
	struct guest_memory memory;
	struct iommu iommu;
	struct iommu_endpoint *first;
	struct iommu_endpoint *second;
	struct dma doors[3]; /* of the first, the first, the second */
	struct rig_answer answers[64];
	unsigned int answer_count;
	unsigned int quiet_count;
};

void rig_setup(struct rig *rig, bool bypass);
void rig_teardown(struct rig *rig);

/*
 * Requests, each a drain of its own. One that is deferred has its answer in the
 * rig's list if that came at once, and is IOMMU_DEFERRED if not.
 */
enum iommu_status rig_attach(struct rig *rig, uint32_t domain,
			     uint32_t endpoint, uint32_t flags);
enum iommu_status rig_detach(struct rig *rig, uint32_t domain,
			     uint32_t endpoint);
enum iommu_status rig_map(struct rig *rig, uint32_t domain, uint64_t first,
			  uint64_t last, uint64_t physical, uint32_t flags);
enum iommu_status rig_unmap(struct rig *rig, uint32_t domain, uint64_t first,
			    uint64_t last);
int rig_reset(struct rig *rig);
int rig_set_bypass(struct rig *rig, bool bypass);
bool rig_is_quiet(struct rig *rig);

/* Publishes one span as head 0 of @door, which has nothing in flight, commits. */
const struct dma_span *rig_publish(struct dma *door, uint16_t head,
				   uint64_t first, uint32_t len,
				   enum dma_access access);

/*
 * The host address of @len bytes at @first as @door sees them, in one piece; NULL
 * after a fault, or when there are more pieces.
 */
void *rig_reach(struct dma *door, uint64_t first, uint32_t len,
		enum dma_access access);

/* Whether that access faults, for that reason, at @address. */
bool rig_faults(struct dma *door, uint64_t first, uint32_t len,
		enum dma_access access, enum fault_reason reason,
		uint64_t address);

/* Where @gpa is in this process. */
void *rig_host(struct rig *rig, uint64_t gpa);

#endif
