/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtio-iommu's requests, answers and fault records look like in guest
 * memory (virtio 1.2, 5.13). Little-endian, as the host is. Requests come in two
 * parts: what the device reads, named here, and what it writes: an answer, and
 * before that, for PROBE, a list of properties.
 */
#ifndef DEVICES_VIRTIO_IOMMU_FORMAT_H
#define DEVICES_VIRTIO_IOMMU_FORMAT_H

#include <stdint.h>

/* Feature bits. */
#define VIOMMU_F_INPUT_RANGE 0
#define VIOMMU_F_DOMAIN_RANGE 1
#define VIOMMU_F_MAP_UNMAP 2
#define VIOMMU_F_PROBE 4
#define VIOMMU_F_MMIO 5
#define VIOMMU_F_BYPASS_CONFIG 6

enum viommu_request_type {
	VIOMMU_ATTACH = 1,
	VIOMMU_DETACH = 2,
	VIOMMU_MAP = 3,
	VIOMMU_UNMAP = 4,
	VIOMMU_PROBE = 5,
};

struct viommu_head {
	uint8_t type;
	uint8_t reserved[3];
};

struct viommu_attach {
	struct viommu_head head;
	uint32_t domain;
	uint32_t endpoint;
	uint32_t flags;
	uint8_t reserved[4];
};

struct viommu_detach {
	struct viommu_head head;
	uint32_t domain;
	uint32_t endpoint;
	uint8_t reserved[8];
};

struct viommu_map {
	struct viommu_head head;
	uint32_t domain;
	uint64_t virt_start;
	uint64_t virt_end;
	uint64_t phys_start;
	uint32_t flags;
} __attribute__((packed));

struct viommu_unmap {
	struct viommu_head head;
	uint32_t domain;
	uint64_t virt_start;
	uint64_t virt_end;
	uint8_t reserved[4];
} __attribute__((packed));

struct viommu_probe {
	struct viommu_head head;
	uint32_t endpoint;
	uint8_t reserved[64];
};

/* The answer. */
struct viommu_tail {
	uint8_t status; /* enum iommu_status */
	uint8_t reserved[3];
};

#define VIOMMU_PROPERTY_RESERVED_MEMORY 1

/* A property; `length` is that of what follows it. */
struct viommu_property {
	uint16_t type;
	uint16_t length;
};

struct viommu_reserved_memory {
	struct viommu_property head;
	uint8_t subtype; /* enum iommu_reserved_type */
	uint8_t reserved[3];
	uint64_t start;
	uint64_t end;
};

#define VIOMMU_FAULT_ADDRESS (1U << 8) /* beside memory/fault_queue.h's */

struct viommu_fault {
	uint8_t reason; /* enum fault_reason */
	uint8_t reserved[3];
	uint32_t flags;
	uint32_t endpoint;
	uint8_t reserved2[4];
	uint64_t address;
};

struct viommu_config {
	uint64_t page_size_mask;
	uint64_t input_start;
	uint64_t input_end;
	uint32_t domain_start;
	uint32_t domain_end;
	uint32_t probe_size;
	uint8_t bypass;
	uint8_t reserved[3];
};

#endif
