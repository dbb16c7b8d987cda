/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation.
 *
 * What an endpoint may reach is one word, `attachment`: doors load it after their
 * fence, and take everything else from it. A change of it is a new generation, so
 * that nothing a door remembers outlives it.
 *
 * Taking away goes in two steps. The request itself clears words in the map, or
 * changes the attachment, at once; then it is a wait (memory/wait_list.h), and
 * iommu_finish decides: one fence for all requests of a drain, and then a look at
 * what the doors have in flight.
 *
 * While an endpoint leaves a domain (or bypass), requests that its doors published
 * earlier may go on reading the old domain's map. So it still counts as one of that
 * domain when an UNMAP there looks for what is in flight; the old tables are not
 * cleared; and it cannot leave again. There are two places for domains per
 * endpoint: the one that it is in and the one that it is leaving.
 */
#include "memory/iommu.h"

#include <assert.h>
#include <errno.h>

#include "memory/domain.h"

_Static_assert(IOMMU_MAP_READ == PAGE_TABLE_READ &&
		       IOMMU_MAP_WRITE == PAGE_TABLE_WRITE &&
		       IOMMU_MAP_MMIO == PAGE_TABLE_MMIO,
	       "MAP's flags go into the table as they are");

#define MAP_FLAGS (IOMMU_MAP_READ | IOMMU_MAP_WRITE | IOMMU_MAP_MMIO)

/* One writer, the holder of the lock; atomic for those who read without it. */
static void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Counts a request by its answer, and returns that. */
static enum iommu_status counted(struct iommu *iommu, uint64_t *obeyed,
				 enum iommu_status status)
	LOCK_REQUIRES(&iommu->lock)
{
	if (status == IOMMU_OK || status == IOMMU_DEFERRED) {
		counter_add(obeyed, 1);
		return status;
	}
	counter_add(&iommu->counters.rejected, 1);
	if (status == IOMMU_NOMEM)
		counter_add(&iommu->counters.rejected_nomem, 1);
	return status;
}

void iommu_count_rejected(struct iommu *iommu)
{
	counter_add(&iommu->counters.rejected, 1);
}

struct iommu_counters iommu_read_counters(const struct iommu *iommu)
{
	const struct iommu_counters *from = &iommu->counters;

#define READ(name) .name = __atomic_load_n(&from->name, __ATOMIC_RELAXED)
	return (struct iommu_counters){
		READ(attach),	   READ(detach),      READ(map),
		READ(unmap),	   READ(rejected),    READ(rejected_nomem),
		READ(waits),	   READ(unmap_waits), READ(mapped_bytes),
		READ(table_bytes),
	};
#undef READ
}

/* Forgets about @domain what it can; see domain_release. */
static void domain_settle(struct iommu *iommu, struct domain *domain)
	LOCK_REQUIRES(&iommu->lock)
{
	counter_add(&iommu->counters.mapped_bytes,
		    -(domain_release(domain) << PAGE_SHIFT));
}

/* Where the endpoint's doors get from now on. */
static void attachment_set(struct iommu *iommu, struct iommu_endpoint *endpoint,
			   uint64_t target) LOCK_REQUIRES(&iommu->lock)
{
	uint64_t generation = ++iommu->generation;

	/* Pairs with the acquire in view_refresh (memory/dma.c). */
	__atomic_store_n(&endpoint->attachment,
			 generation << IOMMU_TARGET_BITS | target,
			 __ATOMIC_RELEASE);
}

static uint64_t target_of(const struct iommu_endpoint *endpoint)
{
	return endpoint->attachment & IOMMU_TARGET_MASK;
}

/* What an endpoint of @domain, NULL for none, gets. */
static uint64_t target_for(const struct iommu *iommu,
			   const struct domain *domain)
{
	if (!domain)
		return iommu->bypass ? IOMMU_TARGET_IDENTITY
				     : IOMMU_TARGET_NONE;
	if (domain->bypass)
		return IOMMU_TARGET_IDENTITY;
	return IOMMU_TARGET_DOMAIN + (uint64_t)(domain - iommu->domains);
}

/* --- ATTACH and DETACH --- */

/* Whether one more request can be deferred; if need be, decides about others. */
static bool can_defer(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock)
{
	if (!wait_list_has_room(&iommu->waits))
		iommu_finish(iommu);
	return wait_list_has_room(&iommu->waits);
}

/* Whether the endpoint's last change is done; if need be, decides about it. */
static bool endpoint_can_move(struct iommu *iommu,
			      const struct iommu_endpoint *endpoint)
	LOCK_REQUIRES(&iommu->lock)
{
	if (endpoint->leaving)
		iommu_finish(iommu);
	return !endpoint->leaving;
}

/*
 * Moves @endpoint to @domain, NULL for none. It has nothing to wait for if it
 * could reach nothing, or goes from one bypass to another.
 */
static enum iommu_status endpoint_move(struct iommu *iommu,
				       struct iommu_endpoint *endpoint,
				       struct domain *domain, uint64_t cookie)
	LOCK_REQUIRES(&iommu->lock)
{
	uint64_t target = target_for(iommu, domain);
	uint64_t old = target_of(endpoint);
	bool defer = old != IOMMU_TARGET_NONE && old != target;
	struct domain *left = endpoint->domain;

	if (defer) {
		struct wait *wait;

		if (!can_defer(iommu))
			return IOMMU_DEVERR;
		wait = wait_list_add(&iommu->waits, WAIT_LEAVE, IOVA(0),
				     IOVA(UINT64_MAX), cookie);
		wait->endpoint = endpoint;
		wait_list_look_at(&iommu->waits, wait, endpoint);
		endpoint->leaving = true;
		endpoint->left = left;
		if (left)
			left->leaving++;
	}
	attachment_set(iommu, endpoint, target);
	endpoint->domain = domain;
	if (domain)
		domain->endpoints++;
	if (left) {
		left->endpoints--;
		domain_settle(iommu, left);
	}
	return defer ? IOMMU_DEFERRED : IOMMU_OK;
}

static enum iommu_status attach(struct iommu *iommu, uint32_t id,
				uint32_t endpoint_id, uint32_t flags,
				uint64_t cookie) LOCK_REQUIRES(&iommu->lock)
{
	bool bypass = flags & IOMMU_ATTACH_BYPASS;
	struct iommu_endpoint *endpoint;
	struct domain *domain;
	enum iommu_status status;

	if (flags & ~IOMMU_ATTACH_BYPASS)
		return IOMMU_INVAL;
	endpoint = iommu_find_endpoint(iommu, endpoint_id);
	if (!endpoint)
		return IOMMU_NOENT;
	if (id < iommu->domain_first || id > iommu->domain_last)
		return IOMMU_RANGE;
	domain = domain_find(iommu->domains, iommu->domain_count, id);
	/* virtio 1.2, 5.13.6.3.2: the flag agrees with the domain. */
	if (domain && domain->bypass != bypass)
		return IOMMU_INVAL;
	if (domain && domain == endpoint->domain)
		return IOMMU_OK;
	if (!endpoint_can_move(iommu, endpoint))
		return IOMMU_DEVERR;
	if (!domain)
		domain = domain_create(iommu->domains, iommu->domain_count, id,
				       bypass);
	status = endpoint_move(iommu, endpoint, domain, cookie);
	domain_settle(iommu, domain);
	return status;
}

enum iommu_status iommu_attach(struct iommu *iommu, uint32_t domain,
			       uint32_t endpoint, uint32_t flags,
			       uint64_t cookie)
{
	return counted(iommu, &iommu->counters.attach,
		       attach(iommu, domain, endpoint, flags, cookie));
}

static enum iommu_status detach(struct iommu *iommu, uint32_t id,
				uint32_t endpoint_id, uint64_t cookie)
	LOCK_REQUIRES(&iommu->lock)
{
	struct iommu_endpoint *endpoint =
		iommu_find_endpoint(iommu, endpoint_id);

	if (!endpoint)
		return IOMMU_NOENT;
	if (!endpoint->domain || endpoint->domain->id != id)
		return IOMMU_INVAL;
	if (!endpoint_can_move(iommu, endpoint))
		return IOMMU_DEVERR;
	return endpoint_move(iommu, endpoint, NULL, cookie);
}

enum iommu_status iommu_detach(struct iommu *iommu, uint32_t domain,
			       uint32_t endpoint, uint64_t cookie)
{
	return counted(iommu, &iommu->counters.detach,
		       detach(iommu, domain, endpoint, cookie));
}

/* --- MAP and UNMAP --- */

static bool is_reserved(const struct iommu *iommu, iova_t first, iova_t last)
{
	unsigned int i;

	for (i = 0; i < iommu->reserved_count; i++)
		if (first.v <= iommu->reserved[i].last.v &&
		    last.v >= iommu->reserved[i].first.v)
			return true;
	return false;
}

/* Keeps the gauges after a change of @domain, which had @before pages. */
static void count_mapped(struct iommu *iommu, const struct domain *domain,
			 uint64_t before)
{
	counter_add(&iommu->counters.mapped_bytes,
		    (domain->table.mapped_pages - before) << PAGE_SHIFT);
	__atomic_store_n(&iommu->counters.table_bytes,
			 iommu->table_memory.used << PAGE_SHIFT,
			 __ATOMIC_RELAXED);
}

static enum iommu_status map(struct iommu *iommu, uint32_t id, iova_t first,
			     iova_t last, gpa_t physical, uint32_t flags)
	LOCK_REQUIRES(&iommu->lock)
{
	struct domain *domain =
		domain_find(iommu->domains, iommu->domain_count, id);
	uint64_t before;
	uint64_t end;

	if (flags & ~MAP_FLAGS)
		return IOMMU_INVAL;
	if (!domain)
		return IOMMU_NOENT;
	if (domain->bypass || last.v < first.v)
		return IOMMU_INVAL;
	if (!is_aligned(first.v | physical.v | (last.v + 1), IOMMU_GRANULE))
		return IOMMU_RANGE;
	if (last.v > iommu->input_last ||
	    __builtin_add_overflow(physical.v, last.v - first.v, &end))
		return IOMMU_RANGE;
	if (is_reserved(iommu, first, last))
		return IOMMU_INVAL;

	before = domain->table.mapped_pages;
	switch (page_table_map(&domain->table, first, last, physical, flags)) {
	case PAGE_TABLE_OK:
		count_mapped(iommu, domain, before);
		return IOMMU_OK;
	case PAGE_TABLE_FULL:
		return IOMMU_NOMEM;
	default:
		return IOMMU_INVAL; /* an overlap */
	}
}

enum iommu_status iommu_map(struct iommu *iommu, uint32_t domain, iova_t first,
			    iova_t last, gpa_t physical, uint32_t flags)
{
	return counted(iommu, &iommu->counters.map,
		       map(iommu, domain, first, last, physical, flags));
}

static enum iommu_status unmap(struct iommu *iommu, uint32_t id, iova_t first,
			       iova_t last, uint64_t cookie)
	LOCK_REQUIRES(&iommu->lock)
{
	struct domain *domain =
		domain_find(iommu->domains, iommu->domain_count, id);
	struct wait *wait;
	uint64_t before;
	unsigned int i;

	if (!domain)
		return IOMMU_NOENT;
	if (domain->bypass || last.v < first.v)
		return IOMMU_INVAL;
	if (!can_defer(iommu))
		return IOMMU_DEVERR;
	before = domain->table.mapped_pages;
	if (page_table_unmap(&domain->table, first, last) != PAGE_TABLE_OK)
		return IOMMU_RANGE;
	count_mapped(iommu, domain, before);

	wait = wait_list_add(&iommu->waits, WAIT_UNMAP, first, last, cookie);
	for (i = 0; i < iommu->endpoint_count; i++) {
		const struct iommu_endpoint *endpoint = &iommu->endpoints[i];

		if (endpoint->domain == domain ||
		    (endpoint->leaving && endpoint->left == domain))
			wait_list_look_at(&iommu->waits, wait, endpoint);
	}
	return IOMMU_DEFERRED;
}

enum iommu_status iommu_unmap(struct iommu *iommu, uint32_t domain,
			      iova_t first, iova_t last, uint64_t cookie)
{
	return counted(iommu, &iommu->counters.unmap,
		       unmap(iommu, domain, first, last, cookie));
}

/* --- deciding --- */

/* @endpoint has nothing in flight any more by what it left. */
static void endpoint_settle(struct iommu *iommu,
			    struct iommu_endpoint *endpoint)
	LOCK_REQUIRES(&iommu->lock)
{
	struct domain *left = endpoint->left;

	endpoint->leaving = false;
	endpoint->left = NULL;
	if (left) {
		left->leaving--;
		domain_settle(iommu, left);
	}
}

/* What the register writes took away is out of use. */
static void quiet_settle(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock)
{
	unsigned int i;

	for (i = 0; iommu->resetting && i < iommu->domain_count; i++) {
		iommu->domains[i].leaving = 0;
		if (iommu->domains[i].taken)
			domain_settle(iommu, &iommu->domains[i]);
	}
	iommu->resetting = false;
	if (iommu->told_busy)
		iommu->answers->quiet(iommu->answers_context);
	iommu->told_busy = false;
}

/*
 * Not checked: called through a pointer, by wait_list functions, which are called
 * with the lock held.
 */
static void over(void *context, const struct wait *wait) LOCK_UNCHECKED
{
	struct iommu *iommu = context;

	if (wait->kind == WAIT_QUIET) {
		quiet_settle(iommu);
		return;
	}
	if (wait->kind == WAIT_LEAVE)
		endpoint_settle(iommu, wait->endpoint);
	iommu->answers->answer(iommu->answers_context, wait->cookie, IOMMU_OK);
}

void iommu_finish(struct iommu *iommu)
{
	unsigned int unmaps;
	unsigned int parked =
		wait_list_decide(&iommu->waits, over, iommu, &unmaps);

	counter_add(&iommu->counters.waits, parked);
	counter_add(&iommu->counters.unmap_waits, unmaps);
}

void iommu_begin(struct iommu *iommu)
{
	lock_take(&iommu->lock);
}

void iommu_end(struct iommu *iommu)
{
	assert(!iommu->waits.undecided);
	lock_drop(&iommu->lock);
}

void iommu_wake(struct iommu *iommu)
{
	lock_take(&iommu->lock);
	wait_list_recheck(&iommu->waits, over, iommu);
	lock_drop(&iommu->lock);
}

/* --- register writes --- */

bool iommu_is_quiet(const struct iommu *iommu)
{
	return iommu->waits.quiet.kind == WAIT_FREE;
}

/* Decides about the wait for register writes. */
static int quiet_decide(struct iommu *iommu) LOCK_REQUIRES(&iommu->lock)
{
	unsigned int unmaps;

	wait_list_decide(&iommu->waits, over, iommu, &unmaps);
	if (iommu_is_quiet(iommu))
		return 0;
	iommu->told_busy = true;
	return -EAGAIN;
}

int iommu_reset(struct iommu *iommu)
{
	struct wait *wait;
	unsigned int i;

	wait_list_forget(&iommu->waits);
	for (i = 0; i < iommu->endpoint_count; i++) {
		struct iommu_endpoint *endpoint = &iommu->endpoints[i];

		endpoint->leaving = false;
		endpoint->left = NULL;
		endpoint->domain = NULL;
		attachment_set(iommu, endpoint, target_for(iommu, NULL));
	}
	/* Their tables stay until what is in flight now has ended. */
	for (i = 0; i < iommu->domain_count; i++) {
		iommu->domains[i].endpoints = 0;
		iommu->domains[i].leaving = 1;
		if (iommu->domains[i].taken)
			domain_settle(iommu, &iommu->domains[i]);
	}
	iommu->resetting = true;

	wait = wait_list_add_quiet(&iommu->waits);
	for (i = 0; i < iommu->endpoint_count; i++)
		wait_list_look_at(&iommu->waits, wait, &iommu->endpoints[i]);
	return quiet_decide(iommu);
}

int iommu_set_bypass(struct iommu *iommu, bool bypass)
{
	struct wait *wait;
	unsigned int i;

	if (iommu->bypass == bypass)
		return iommu_is_quiet(iommu) ? 0 : -EAGAIN;
	iommu->bypass = bypass;
	wait = wait_list_add_quiet(&iommu->waits);
	for (i = 0; i < iommu->endpoint_count; i++) {
		struct iommu_endpoint *endpoint = &iommu->endpoints[i];

		if (endpoint->domain)
			continue;
		attachment_set(iommu, endpoint, target_for(iommu, NULL));
		if (!bypass)
			wait_list_look_at(&iommu->waits, wait, endpoint);
	}
	return quiet_decide(iommu);
}
