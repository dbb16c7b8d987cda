/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The request queue, with all its state, is under the iommu
 * lock: the vCPU that notifies serves it, and a device thread that was waited for
 * answers into it.
 *
 * Linux notifies and then spins for the answers, interrupts off. So requests are
 * served at once and in batches: taken together, decided about together
 * (iommu_finish), and shown as used by one publication. No system call is made,
 * unless the driver wants an interrupt, and nothing is allocated. The lock is
 * dropped between batches: who waits for it, a device thread perhaps, waits for
 * one batch. After the last one avail_event is published, and the queue looked at
 * again (queue_arm): a notification that is lost hangs the guest.
 *
 * A request that cannot be understood, or leaves no room for an answer, is given
 * back with nothing written (used length 0). Whether the answer can be written is
 * seen before the request is obeyed.
 *
 * A request that waits (IOMMU_DEFERRED) stays in flight in the queue. Its cookie
 * is the head of its chain and the queue's epoch: an answer that comes after the
 * queue was stopped is for nobody.
 *
 * A driver that uses long chains can fill the queue's door with requests that
 * wait. What comes after them is then taken by the main thread, as soon as one of
 * them has its answer: no notification announces it.
 */
#include "devices/virtio_iommu_request.h"

#include <string.h>
#include <sys/eventfd.h>

#include "devices/log.h"
#include "devices/virtio_iommu.h"
#include "devices/virtio_iommu_format.h"
#include "memory/base.h"

#define BATCH 64

#define COOKIE_HEAD_BITS 16

/* A private copy of what the device reads. */
union request {
	struct viommu_head head;
	struct viommu_attach attach;
	struct viommu_detach detach;
	struct viommu_map map;
	struct viommu_unmap unmap;
	struct viommu_probe probe;
};

/* What is known of a type: the bytes before the answer, and the feature. */
struct request_type {
	uint32_t bytes;
	uint32_t tail; /* where the answer stands in the writable part */
	uint64_t feature;
};

static const struct request_type request_types[] = {
	[VIOMMU_ATTACH] = { sizeof(struct viommu_attach), 0, 0 },
	[VIOMMU_DETACH] = { sizeof(struct viommu_detach), 0, 0 },
	[VIOMMU_MAP] = { sizeof(struct viommu_map), 0,
			 VIRTIO_FEATURE(VIOMMU_F_MAP_UNMAP) },
	[VIOMMU_UNMAP] = { sizeof(struct viommu_unmap), 0,
			   VIRTIO_FEATURE(VIOMMU_F_MAP_UNMAP) },
	[VIOMMU_PROBE] = { sizeof(struct viommu_probe), VIRTIO_IOMMU_PROBE_SIZE,
			   VIRTIO_FEATURE(VIOMMU_F_PROBE) },
};

static struct queue *request_queue(struct virtio_iommu *viommu)
{
	return &viommu->device.queues[VIRTIO_IOMMU_REQUESTS];
}

static bool has(const struct virtio_iommu *viommu, uint64_t feature)
{
	return virtio_device_has_feature(&viommu->device, feature);
}

/* NULL for a type that the driver and the device do not share. */
static const struct request_type *find_type(const struct virtio_iommu *viommu,
					    uint8_t number)
{
	if (number == 0 || number >= ARRAY_SIZE(request_types) ||
	    !has(viommu, request_types[number].feature))
		return NULL;
	return &request_types[number];
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	while (len > 0)
		if (bytes[--len] != 0)
			return false;
	return true;
}

/* Whether @len bytes at @offset of the writable part can be written. */
static bool can_write(struct virtio_iommu *viommu, const struct chain *chain,
		      uint64_t offset, uint64_t len)
{
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, offset);
	struct iovec iov[8];
	uint64_t bytes;

	for (; len > 0; len -= bytes)
		if (chain_map(request_queue(viommu), chain, &cursor, len, iov,
			      ARRAY_SIZE(iov), &bytes) <= 0)
			return false;
	return true;
}

/* Answers @chain at @offset of its writable part. */
static void answer(struct virtio_iommu *viommu, struct chain *chain,
		   uint32_t offset, enum iommu_status status)
{
	const struct viommu_tail tail = { .status = (uint8_t)status };
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, offset);
	uint32_t written = 0;

	if (chain_write(request_queue(viommu), chain, &cursor, &tail,
			sizeof(tail)) == 0)
		written = offset + (uint32_t)sizeof(tail);
	queue_complete(request_queue(viommu), chain, written);
}

/* Gives @chain back with nothing written. */
static void ignore(struct virtio_iommu *viommu, struct chain *chain)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	iommu_count_rejected(viommu->iommu);
	queue_complete(request_queue(viommu), chain, 0);
}

static enum iommu_status refuse(struct virtio_iommu *viommu,
				enum iommu_status status)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	iommu_count_rejected(viommu->iommu);
	return status;
}

static enum iommu_status attach(struct virtio_iommu *viommu,
				const struct viommu_attach *request,
				uint64_t cookie)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	/* virtio 1.2, 5.13.6.3.2: reserved is 0. */
	if (!is_zero(request->reserved, sizeof(request->reserved)))
		return refuse(viommu, IOMMU_INVAL);
	/* Without the feature the flag is an unknown one. */
	if (request->flags & IOMMU_ATTACH_BYPASS &&
	    !has(viommu, VIRTIO_FEATURE(VIOMMU_F_BYPASS_CONFIG)))
		return refuse(viommu, IOMMU_INVAL);
	return iommu_attach(viommu->iommu, request->domain, request->endpoint,
			    request->flags, cookie);
}

static enum iommu_status map(struct virtio_iommu *viommu,
			     const struct viommu_map *request)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	enum iommu_status status;

	/* virtio 1.2, 5.13.6.5: only if the feature was negotiated. */
	if (request->flags & IOMMU_MAP_MMIO &&
	    !has(viommu, VIRTIO_FEATURE(VIOMMU_F_MMIO)))
		return refuse(viommu, IOMMU_INVAL);
	status = iommu_map(viommu->iommu, request->domain,
			   IOVA(request->virt_start), IOVA(request->virt_end),
			   GPA(request->phys_start), request->flags);
	if (status == IOMMU_NOMEM)
		viommu->out_of_tables = true;
	return status;
}

static enum iommu_status unmap(struct virtio_iommu *viommu,
			       const struct viommu_unmap *request,
			       uint64_t cookie)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	/* virtio 1.2, 5.13.6.6.2: reserved may be refused. */
	if (!is_zero(request->reserved, sizeof(request->reserved)))
		return refuse(viommu, IOMMU_INVAL);
	return iommu_unmap(viommu->iommu, request->domain,
			   IOVA(request->virt_start), IOVA(request->virt_end),
			   cookie);
}

/* Fills the list; the rest of it stays 0, which ends it. */
static void list_properties(const struct iommu *iommu,
			    uint8_t list[static VIRTIO_IOMMU_PROBE_SIZE])
{
	struct viommu_reserved_memory property = {
		.head.type = VIOMMU_PROPERTY_RESERVED_MEMORY,
		.head.length = sizeof(property) - sizeof(property.head),
	};
	unsigned int i;

	_Static_assert(IOMMU_RESERVED_MAX * sizeof(property) <=
			       VIRTIO_IOMMU_PROBE_SIZE,
		       "all reserved regions fit");
	for (i = 0; i < iommu->reserved_count; i++) {
		property.subtype = (uint8_t)iommu->reserved[i].type;
		property.start = iommu->reserved[i].first.v;
		property.end = iommu->reserved[i].last.v;
		memcpy(list + i * sizeof(property), &property,
		       sizeof(property));
	}
}

/* PROBE answers by itself: there is the list to write. */
static void probe(struct virtio_iommu *viommu, struct chain *chain,
		  const struct viommu_probe *request)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, 0);
	uint64_t room = chain->writable_bytes - sizeof(struct viommu_tail);
	uint32_t bytes = (uint32_t)MIN(room, VIRTIO_IOMMU_PROBE_SIZE);
	uint8_t list[VIRTIO_IOMMU_PROBE_SIZE] = { 0 };
	enum iommu_status status = IOMMU_OK;

	if (!can_write(viommu, chain, 0, bytes)) {
		ignore(viommu, chain);
		return;
	}
	if (bytes < VIRTIO_IOMMU_PROBE_SIZE)
		/* virtio 1.2, 5.13.6.7.2: no property in a list too small. */
		status = IOMMU_INVAL;
	else if (!iommu_find_endpoint(viommu->iommu, request->endpoint))
		status = IOMMU_NOENT;
	else
		list_properties(viommu->iommu, list);
	if (status == IOMMU_OK)
		queue_count(&viommu->probes, 1);
	else
		iommu_count_rejected(viommu->iommu);
	chain_write(request_queue(viommu), chain, &cursor, list, bytes);
	answer(viommu, chain, bytes, status);
}

/* Obeys what @request, of a known type and whole, asks for. */
static void obey(struct virtio_iommu *viommu, struct chain *chain,
		 const union request *request)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	uint64_t cookie = viommu->epoch << COOKIE_HEAD_BITS | chain->head;
	enum iommu_status status;

	switch (request->head.type) {
	case VIOMMU_ATTACH:
		status = attach(viommu, &request->attach, cookie);
		break;
	case VIOMMU_DETACH:
		/* virtio 1.2, 5.13.6.4.2: reserved is ignored. */
		status = iommu_detach(viommu->iommu, request->detach.domain,
				      request->detach.endpoint, cookie);
		break;
	case VIOMMU_MAP:
		status = map(viommu, &request->map);
		break;
	case VIOMMU_UNMAP:
		status = unmap(viommu, &request->unmap, cookie);
		break;
	default:
		probe(viommu, chain, &request->probe);
		return;
	}
	if (status != IOMMU_DEFERRED)
		answer(viommu, chain, 0, status);
}

static void request_serve(struct virtio_iommu *viommu, struct chain *chain)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	struct chain_cursor cursor = chain_cursor(chain, DMA_READ, 0);
	uint64_t room = chain->writable_bytes;
	const struct request_type *type;
	union request request;
	uint64_t tail;

	/* One copy, of all that a request can have. */
	if (cursor.left < sizeof(request.head) ||
	    chain_read(request_queue(viommu), chain, &cursor, &request,
		       MIN(cursor.left, sizeof(request))) ||
	    room < sizeof(struct viommu_tail)) {
		ignore(viommu, chain);
		return;
	}
	type = find_type(viommu, request.head.type);
	/* virtio 1.2, 5.13.6.2: nothing is written for an unknown type. */
	if (!type || chain->readable_bytes < type->bytes) {
		ignore(viommu, chain);
		return;
	}
	tail = MIN(type->tail, room - sizeof(struct viommu_tail));
	if (!can_write(viommu, chain, tail, sizeof(struct viommu_tail))) {
		ignore(viommu, chain);
		return;
	}
	obey(viommu, chain, &request);
}

/*
 * Serves a batch. Whether there may be more in *@more; returns whether the
 * driver wants an interrupt.
 */
static bool batch_serve(struct virtio_iommu *viommu, bool *more)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	struct queue *queue = request_queue(viommu);
	struct chain *chains[BATCH];
	unsigned int count;
	bool interrupt;
	unsigned int i;

	viommu->draining = true;
	count = queue_next(queue, chains, ARRAY_SIZE(chains));
	for (i = 0; i < count; i++)
		request_serve(viommu, chains[i]);
	iommu_finish(viommu->iommu);
	viommu->draining = false;
	interrupt = queue_publish(queue);
	/* A full batch: there may be more, and then arming is for later. */
	*more = count == ARRAY_SIZE(chains) || !queue_arm(queue);
	return interrupt;
}

static bool should_stop(const struct virtio_iommu *viommu)
{
	const uint32_t *stop = viommu->options.stop;

	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

/* The guest does not learn of it: Linux does not look at a MAP's answer. */
static void say_out_of_tables(const struct virtio_iommu *viommu)
{
	log_warn(
		"iommu: the guest maps more than [iommu] tables = %lluK has room for: refused",
		(unsigned long long)(viommu->iommu->table_memory.limit
				     << PAGE_SHIFT) /
			KIB);
}

bool virtio_iommu_serve_batch(struct virtio_iommu *viommu)
{
	bool interrupt = false, more = false;
	bool full;

	iommu_begin(viommu->iommu);
	full = viommu->out_of_tables;
	if (viommu->requests_live) {
		interrupt = batch_serve(viommu, &more);
		virtio_device_check_queue(&viommu->device,
					  request_queue(viommu));
	}
	full = !full && viommu->out_of_tables;
	iommu_end(viommu->iommu);
	if (interrupt)
		virtio_device_signal_used(&viommu->device);
	if (full)
		say_out_of_tables(viommu);
	return more;
}

void virtio_iommu_serve_requests(struct virtio_iommu *viommu)
{
	while (!should_stop(viommu) && virtio_iommu_serve_batch(viommu))
		continue;
}

static void requests_set_live(struct virtio_iommu *viommu, bool live)
	LOCK_REQUIRES(&viommu->iommu->lock)
{
	viommu->requests_live = live;
	viommu->epoch++;
}

void virtio_iommu_start_requests(struct virtio_iommu *viommu)
{
	iommu_begin(viommu->iommu);
	requests_set_live(viommu, true);
	iommu_end(viommu->iommu);
}

bool virtio_iommu_stop_requests(struct virtio_iommu *viommu)
{
	bool owes;

	iommu_begin(viommu->iommu);
	owes = viommu->requests_live && queue_owes(request_queue(viommu));
	requests_set_live(viommu, false);
	iommu_end(viommu->iommu);
	return owes;
}

/*
 * The two below are called with the iommu lock held, through pointers that clang
 * cannot follow.
 */
static void answer_deferred(void *context, uint64_t cookie,
			    enum iommu_status status) LOCK_UNCHECKED
{
	struct virtio_iommu *viommu = context;
	struct queue *queue = request_queue(viommu);
	uint16_t head = (uint16_t)cookie;
	bool stalled;

	if (cookie >> COOKIE_HEAD_BITS != viommu->epoch)
		return;
	/* Not before: of a queue that was stopped this is another thread's. */
	stalled = queue->stalled;
	answer(viommu, &queue->chains[head], 0, status);
	if (viommu->draining)
		return;
	if (queue_publish(queue))
		virtio_device_signal_used(&viommu->device);
	if (stalled)
		eventfd_write(viommu->again_fd, 1);
}

static void tell_quiet(void *context)
{
	const struct virtio_iommu *viommu = context;

	eventfd_write(viommu->quiet_fd, 1);
}

const struct iommu_answers virtio_iommu_answers = {
	.answer = answer_deferred,
	.quiet = tell_quiet,
};
