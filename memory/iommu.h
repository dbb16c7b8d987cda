/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOMMU: endpoints, domains, and the rules of virtio-iommu (virtio 1.2,
 * 5.13.6) by which the guest maps memory for its devices. No virtio in here:
 * the front end (devices/virtio_iommu.c) parses requests, calls these
 * functions, and writes the answers.
 *
 * Three parties:
 *
 *  - the front end, on a vCPU thread, changes the map, holding the lock;
 *  - doors (memory/dma.h), on device threads, read the map without a lock;
 *  - a door that clears a request for which somebody waits takes the lock and
 *    answers, on its device thread, through the front end's callback.
 *
 * A request that takes something away from an endpoint (UNMAP, DETACH, ATTACH
 * elsewhere) is answered only when no access to it is in flight. Such a request
 * returns IOMMU_DEFERRED, and is answered by the callback: by iommu_finish where
 * nothing is in the way, which is the rule, or later by a device thread; then it
 * is "parked". A drain of the request queue:
 *
 *	iommu_begin(iommu);
 *	for each request, as many as the drain may take:
 *		status = iommu_map(...) and so on
 *		if (status != IOMMU_DEFERRED)
 *			stage the answer
 *	iommu_finish(iommu);	the callback stages more answers
 *	publish what is staged
 *	iommu_end(iommu);
 *
 * The queue's state, in the front end, is under the same lock, because the
 * callback changes it.
 *
 * Lock order, for the whole project. A thread may take a lock while it holds one
 * that stands above it, never the other way round:
 *
 *	1. virtio_device.lock	of one device; vCPU threads
 *	2. iommu.lock		vCPU threads, and device threads that answer
 *	3. fault_queue.lock	leaf
 *
 * Nobody waits for a device thread while holding 2 or 3. Holding 1 is allowed:
 * no device thread takes it. Under 2 and 3 there are no system calls but those
 * that the front end's callbacks make.
 *
 * The memory for tables and for parked requests is bounded and reserved by
 * iommu_init: no request allocates.
 */
#ifndef MEMORY_IOMMU_H
#define MEMORY_IOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"
#include "memory/fault_queue.h"
#include "memory/lock.h"
#include "memory/page_table.h"
#include "memory/wait_list.h"

struct domain;
struct in_flight;

/* The answers, with the specification's numbers (virtio 1.2, 5.13.6.2). */
enum iommu_status {
	IOMMU_OK = 0,
	IOMMU_IOERR = 1,
	IOMMU_UNSUPP = 2,
	IOMMU_DEVERR = 3,
	IOMMU_INVAL = 4,
	IOMMU_RANGE = 5,
	IOMMU_NOENT = 6,
	IOMMU_FAULT = 7,
	IOMMU_NOMEM = 8,
	/* Not for the guest: the callback will answer. */
	IOMMU_DEFERRED = 256,
};

/* Flags of ATTACH and MAP, with the specification's numbers. */
#define IOMMU_ATTACH_BYPASS 1U
#define IOMMU_MAP_READ 1U
#define IOMMU_MAP_WRITE 2U
#define IOMMU_MAP_MMIO 4U

/* Subtypes of a reserved region, with the specification's numbers. */
enum iommu_reserved_type {
	IOMMU_RESERVED = 0,
	IOMMU_RESERVED_MSI = 1,
};

#define IOMMU_RESERVED_MAX 4

/* Addresses that nobody may map; the same for every endpoint. */
struct iommu_reserved {
	iova_t first;
	iova_t last;
	enum iommu_reserved_type type;
};

/* The pages that can be mapped start and end on multiples of this. */
#define IOMMU_GRANULE PAGE_SIZE

/* Input addresses have this many bits at least and at most. */
#define IOMMU_INPUT_BITS_MIN PAGE_TABLE_BITS_MIN
#define IOMMU_INPUT_BITS_MAX PAGE_TABLE_BITS_MAX

#define IOMMU_ENDPOINTS_MAX 1024

struct iommu_config {
	unsigned int input_bits; /* endpoints address [0, 2^input_bits) */
	uint32_t domain_first; /* the domain numbers that a guest may use */
	uint32_t domain_last;
	unsigned int endpoints_max;
	unsigned int requests_max; /* deferred at a time: the queue's size */
	unsigned int faults_max; /* in the fault queue */
	uint64_t tables; /* the most bytes that mappings may take */
	bool bypass; /* what endpoints that are not attached may do at first */
};

/* What the front end is called back for. Both with the lock held. */
struct iommu_answers {
	/*
	 * The deferred request with this @cookie has its answer. Called during
	 * iommu_finish, during a later request of the same drain (one that had to
	 * decide about it first), or on a device thread at any time after. Must not
	 * call back into this file. After iommu_reset it is not called for requests
	 * that were made before.
	 */
	void (*answer)(void *context, uint64_t cookie,
		       enum iommu_status status);
	/*
	 * iommu_is_quiet may have become true: wakes the vCPU thread that was told
	 * -EAGAIN (write to an eventfd). On a device thread.
	 */
	void (*quiet)(void *context);
};

/* Written under the lock; read with iommu_read_counters. */
struct iommu_counters {
	uint64_t attach; /* requests that were obeyed */
	uint64_t detach;
	uint64_t map;
	uint64_t unmap;
	uint64_t rejected; /* requests with any other answer than OK */
	uint64_t rejected_nomem; /* of those, for want of table memory */
	uint64_t waits; /* deferred requests that were parked */
	uint64_t unmap_waits; /* of those, UNMAPs */
	uint64_t mapped_bytes; /* now, in all domains */
	uint64_t table_bytes; /* taken by tables; never falls */
};

/*
 * A device behind the IOMMU. Its queues' doors join with dma_attach_endpoint.
 */
struct iommu_endpoint {
	struct iommu *iommu;
	uint32_t id;
	/*
	 * Atomic: generation << IOMMU_TARGET_BITS | target; the generation grows
	 * with each change, so a word never comes back. Written under the lock
	 * (release), read by doors (acquire).
	 */
	uint64_t attachment;
	/* All below under the lock. */
	struct domain *domain; /* attached to; NULL: to none */
	bool leaving; /* an ATTACH or DETACH is not answered yet, and so */
	struct domain *left; /* requests in flight may use this one's map */
};

/* What the low bits of an attachment say. */
#define IOMMU_TARGET_BITS 16
#define IOMMU_TARGET_MASK ((UINT64_C(1) << IOMMU_TARGET_BITS) - 1)
#define IOMMU_TARGET_NONE 0 /* every access is a fault */
#define IOMMU_TARGET_IDENTITY 1 /* bypass: device address = guest address */
#define IOMMU_TARGET_DOMAIN 2 /* and up: domains[target - this] */

struct iommu {
	struct lock lock;
	struct fault_queue faults; /* has its own lock */

	/* Set-up; constant afterwards. */
	uint64_t input_last;
	uint32_t domain_first;
	uint32_t domain_last;
	unsigned int endpoints_max;
	unsigned int endpoint_count;
	struct iommu_endpoint *endpoints;
	unsigned int reserved_count;
	struct iommu_reserved reserved[IOMMU_RESERVED_MAX];
	const struct iommu_answers *answers;
	void *answers_context;
	unsigned int domain_count; /* places, 2 for each endpoint */
	struct domain *domains;

	/* Under the lock. */
	bool bypass;
	uint64_t generation; /* of the attachments; the last one given */
	bool resetting; /* the tables go when what is in flight has ended */
	bool told_busy; /* somebody waits for the callback `quiet` */
	struct table_memory table_memory;
	struct wait_list waits;
	struct iommu_counters counters; /* atomics, for their readers */
};

/* --- set-up, before any vCPU runs, and the end, after all threads --- */

/*
 * An IOMMU without endpoints. @config stays the caller's. Returns 0; -EINVAL for
 * a configuration that makes no sense, `tables` too small for one page of
 * mappings among them; -ENOMEM; or what eventfd or mmap say.
 */
int iommu_init(struct iommu *iommu, const struct iommu_config *config);

/* All doors have been destroyed. */
void iommu_destroy(struct iommu *iommu);

/*
 * Adds an endpoint, not attached. NULL when @id is taken or endpoints_max
 * reached. It belongs to @iommu and lives as long.
 */
struct iommu_endpoint *iommu_add_endpoint(struct iommu *iommu, uint32_t id);

/*
 * Reserves [first, last], multiples of the granule. Returns 0; -EINVAL for a
 * range that is not one, overlaps another one, or is a second MSI region; -ENOSPC
 * after IOMMU_RESERVED_MAX. PROBE's answer is iommu->reserved, in order.
 */
int iommu_reserve(struct iommu *iommu, iova_t first, iova_t last,
		  enum iommu_reserved_type type);

/* Who answers deferred requests; before the first one. Both stay the caller's. */
void iommu_set_answers(struct iommu *iommu, const struct iommu_answers *answers,
		       void *context);

/* --- requests; vCPU thread --- */

/* Takes the lock, and drops it. Between them no request may be left undecided. */
void iommu_begin(struct iommu *iommu) LOCK_ACQUIRES(&iommu->lock);
void iommu_end(struct iommu *iommu) LOCK_RELEASES(&iommu->lock);

/*
 * The requests. Each returns the guest's answer, or IOMMU_DEFERRED: then
 * @cookie, which means something to the front end alone, goes to the callback.
 * Reserved fields and flags that were not negotiated (BYPASS, MMIO) are the front
 * end's to check; unknown flags are refused here.
 *
 * More than requests_max deferred at a time, or an ATTACH or DETACH of an
 * endpoint whose last one is not answered yet: IOMMU_DEVERR, nothing done. No
 * driver that waits for its answers sees that.
 */

/*
 * ATTACH: NOENT unknown endpoint; INVAL unknown flag, or BYPASS other than the
 * domain's; RANGE for a domain out of range. Attached to another domain, it is
 * moved. To the same one: OK, and nothing changes.
 */
enum iommu_status iommu_attach(struct iommu *iommu, uint32_t domain,
			       uint32_t endpoint, uint32_t flags,
			       uint64_t cookie) LOCK_REQUIRES(&iommu->lock);

/* DETACH: NOENT unknown endpoint; INVAL when it is not in that domain. */
enum iommu_status iommu_detach(struct iommu *iommu, uint32_t domain,
			       uint32_t endpoint, uint64_t cookie)
	LOCK_REQUIRES(&iommu->lock);

/*
 * MAP of [first, last] to physical addresses from @physical on. Never deferred.
 * INVAL unknown flag, last < first, overlap with a mapping or a reserved region,
 * bypass domain; NOENT no such domain; RANGE not aligned, outside the input
 * range, physical addresses past 2^64; NOMEM no table memory.
 */
enum iommu_status iommu_map(struct iommu *iommu, uint32_t domain, iova_t first,
			    iova_t last, gpa_t physical, uint32_t flags)
	LOCK_REQUIRES(&iommu->lock);

/*
 * UNMAP of all mappings in [first, last]. INVAL last < first, bypass domain;
 * NOENT no such domain; RANGE when it would split a mapping: then nothing is
 * removed.
 */
enum iommu_status iommu_unmap(struct iommu *iommu, uint32_t domain,
			      iova_t first, iova_t last, uint64_t cookie)
	LOCK_REQUIRES(&iommu->lock);

/* PROBE: the endpoint with that number, or NULL. Any thread. */
struct iommu_endpoint *iommu_find_endpoint(const struct iommu *iommu,
					   uint32_t id);

/*
 * Decides about every deferred request since iommu_begin: answers it, or parks
 * it. One or two fences, however many there are. Also in the middle of a drain.
 */
void iommu_finish(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock);

/* The front end refused a request by itself: counts it as rejected. */
void iommu_count_rejected(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock);

/* --- register writes, which finish before the vCPU goes on --- */

/*
 * Status = 0 of the IOMMU: detaches every endpoint, drops all mappings and
 * forgets the parked requests (no callback any more). Returns 0 when no access
 * by the old map is in flight; else -EAGAIN: the caller drops the lock, waits
 * for the callback `quiet` (or until the VM stops), takes the lock and asks
 * iommu_is_quiet. No request may be made before that is true. `bypass` stays.
 */
int iommu_reset(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock);

/*
 * The configuration field `bypass`: whether endpoints that are not attached
 * reach guest memory at its guest address. Returns as iommu_reset (false takes
 * something away); requests may be made meanwhile.
 */
int iommu_set_bypass(struct iommu *iommu, bool bypass)
	LOCK_REQUIRES(&iommu->lock);

/* Whether what iommu_reset or iommu_set_bypass took away is out of use. */
bool iommu_is_quiet(const struct iommu *iommu) LOCK_REQUIRES(&iommu->lock);

/* Each counter as it was at some moment of late. Any thread, no lock. */
struct iommu_counters iommu_read_counters(const struct iommu *iommu);

/* --- for the door (memory/dma.c) alone --- */

/*
 * What is in flight at a door of @endpoint is looked at from now on. Set-up.
 * Returns 0 or -ENOMEM. The door leaves before it is destroyed.
 */
int iommu_join(struct iommu_endpoint *endpoint, struct in_flight *in_flight);
void iommu_leave(struct iommu_endpoint *endpoint, struct in_flight *in_flight);

/*
 * Something for which a request waits was cleared at a door: answers what can be
 * answered. Device thread, or a vCPU's that resets a queue; no lock held but
 * virtio_device.lock.
 */
void iommu_wake(struct iommu *iommu) LOCK_EXCLUDES(&iommu->lock);

/* The table that an attachment's target names; for targets of a domain only. */
const struct page_table *iommu_table(const struct iommu *iommu,
				     uint64_t attachment);

#endif
