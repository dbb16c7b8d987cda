/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOMMU and doors behind it, driven by a stream of bytes, beside a model that
 * knows nothing of tables (iommu_model.h). Every answer, every translated byte,
 * every fault, and who waits for what is compared.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "memory/dma.h"
#include "memory/domain.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"
#include "tests/fuzz/iommu_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_LOW_PAGES 1008U
#define RAM_MIDDLE (64 * MIB)
#define RAM_MIDDLE_PAGES 1024U

#define TABLE_PAGES 384U
#define ENDPOINTS 2U
#define DOORS 3U
#define HEADS 16U
#define HELD 12U /* heads for requests that stay in flight */
#define WAITS 4U
#define IDS 4U

/* --- the model of the rest --- */

struct model_endpoint {
	uint32_t id; /* of its domain; 0: not attached */
	bool leaving;
	uint32_t left; /* an instance; 0: none */
};

struct model_wait {
	bool parked;
	unsigned int endpoint; /* that leaves; ENDPOINTS for an UNMAP */
	bool head[DOORS][HELD]; /* in the way */
};

static struct {
	struct model_domain domains[IDS + 1];
	struct model_endpoint endpoints[ENDPOINTS];
	struct model_wait waits[WAITS];
	struct dma_span held[DOORS][HELD];
	bool is_held[DOORS][HELD];
	bool bypass;
	uint32_t next;
} model;

/* --- the real thing --- */

static struct guest_memory memory;
static struct iommu iommu;
static struct dma doors[DOORS];
static unsigned int answered; /* bit per cookie, since last looked at */
static unsigned int quiets;

static unsigned int endpoint_of(unsigned int door)
{
	return door < 2 ? 0 : 1;
}

static void answer(void *context, uint64_t cookie, enum iommu_status status)
{
	(void)context;
	assert(status == IOMMU_OK);
	assert(!(answered & 1U << cookie));
	answered |= 1U << cookie;
}

static void quiet(void *context)
{
	(void)context;
	quiets++;
}

static const struct iommu_answers answers = { answer, quiet };

/* Stops the fuzzer even where NDEBUG is set. */
#define check(condition)                  \
	do {                              \
		if (!(condition))         \
			__builtin_trap(); \
	} while (0)

static void start(bool bypass)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, RAM_LOW_PAGES * P },
		{ RAM_MIDDLE, RAM_MIDDLE_PAGES * P },
	};
	const struct iommu_config config = {
		.input_bits = BITS,
		.domain_first = 1,
		.domain_last = IDS,
		.endpoints_max = ENDPOINTS,
		.requests_max = WAITS,
		.faults_max = 4,
		.tables = TABLE_PAGES * P,
		.bypass = bypass,
	};
	unsigned int i;

	if (!memory.region_count)
		check(!guest_memory_init(&memory, ranges, ARRAY_SIZE(ranges),
					 GUEST_MEMORY_SMALL_PAGES));
	memset(&model, 0, sizeof(model));
	model.bypass = bypass;
	answered = 0;
	quiets = 0;
	check(!iommu_init(&iommu, &config));
	iommu_set_answers(&iommu, &answers, NULL);
	check(!iommu_reserve(&iommu, IOVA(RESERVED), IOVA(RESERVED_LAST),
			     IOMMU_RESERVED_MSI));
	for (i = 0; i < ENDPOINTS; i++)
		check(iommu_add_endpoint(&iommu, i) != NULL);
	for (i = 0; i < DOORS; i++) {
		check(!dma_init(&doors[i], &memory, HEADS));
		check(!dma_attach_endpoint(&doors[i],
					   &iommu.endpoints[endpoint_of(i)]));
	}
}

static void stop(void)
{
	unsigned int i;

	for (i = 0; i < DOORS; i++) {
		dma_reset(&doors[i]);
		dma_destroy(&doors[i]);
	}
	iommu_destroy(&iommu);
}

/* --- input --- */

static const uint8_t *input;
static size_t input_left;

static uint32_t take(unsigned int bytes)
{
	uint32_t value = 0;

	while (bytes-- > 0) {
		value <<= 8;
		if (input_left > 0) {
			value |= *input++;
			input_left--;
		}
	}
	return value;
}

static uint64_t take_address(void)
{
	static const uint64_t special[] = { END,	END + P,   -P,
					    UINT64_MAX, INT64_MIN, 0,
					    END - P,	RESERVED };
	uint32_t value = take(2);
	uint64_t page = (value >> 2) % WINDOW_PAGES;

	if (value % 4 == 3)
		return special[(value >> 2) % ARRAY_SIZE(special)];
	/* Half of them near the borders of 2 MiB. */
	if (value & 0x8000)
		page = page / 512 * 512 + page % 8;
	return window_first[value % 4] + page * P;
}

static uint64_t take_end(uint64_t first)
{
	uint32_t code = take(1);

	if (code < 0xa0)
		return first + (1 + code % 16) * P - 1;
	if (code < 0xc0)
		return first + (1 + code % 4) * 512 * P - 1;
	if (code < 0xd0)
		return first | (2 * MIB - 1);
	if (code < 0xe0)
		return first + code;
	return take_address() - (code & 1);
}

/* The last byte of a range from @first on; not between two windows. */
static uint64_t take_last(uint64_t first)
{
	uint64_t last = take_end(first);
	unsigned int cell;

	if (last >= END)
		return last;
	cell = cell_of(last);
	if (cell % (WINDOW_PAGES + 1) == WINDOW_PAGES &&
	    last != cell_last(cell))
		last = cell_first(cell) - 1;
	return last;
}

static uint64_t take_physical(uint64_t first)
{
	uint32_t value = take(2);

	switch (value % 8) {
	case 0:
	case 1:
	case 2:
		return (value >> 3) % RAM_LOW_PAGES * P;
	case 3:
		return RAM_MIDDLE + (value >> 3) % RAM_MIDDLE_PAGES * P;
	case 4:
	case 5:
		/* For large entries. */
		return (value >> 3) % 36 * 2 * MIB + (first & (2 * MIB - 1));
	case 6:
		return -(uint64_t)(value >> 3) * P;
	default:
		return value;
	}
}

/* --- waits --- */

static bool held_overlaps(unsigned int door, unsigned int head, uint64_t first,
			  uint64_t last)
{
	const struct dma_span *span = &model.held[door][head];
	uint64_t to;

	if (!model.is_held[door][head] || span->len == 0)
		return false;
	if (__builtin_add_overflow(span->first.v, span->len - 1, &to))
		to = UINT64_MAX;
	return span->first.v <= last && to >= first;
}

static unsigned int wait_place(void)
{
	unsigned int i = 0;

	while (i < WAITS && model.waits[i].parked)
		i++;
	return i;
}

static bool wait_is_over(const struct model_wait *wait)
{
	static const bool none[DOORS][HELD];

	return memcmp(wait->head, none, sizeof(none)) == 0;
}

/* Whoever has nothing in its way any more must have been answered; no others. */
static void check_answers(void)
{
	unsigned int expected = 0;
	unsigned int i;

	for (i = 0; i < WAITS; i++) {
		struct model_wait *wait = &model.waits[i];

		if (!wait->parked || !wait_is_over(wait))
			continue;
		wait->parked = false;
		if (wait->endpoint < ENDPOINTS)
			model.endpoints[wait->endpoint].leaving = false;
		expected |= 1U << i;
	}
	check(answered == expected);
	answered = 0;
}

/* A request that takes [@first, @last] away at the doors of @endpoints. */
static void park(unsigned int place, const bool *endpoints, uint64_t first,
		 uint64_t last, unsigned int leaves)
{
	struct model_wait *wait = &model.waits[place];
	unsigned int door;
	unsigned int head;

	memset(wait, 0, sizeof(*wait));
	wait->parked = true;
	wait->endpoint = leaves;
	for (door = 0; door < DOORS; door++)
		for (head = 0; head < HELD; head++)
			wait->head[door][head] =
				endpoints[endpoint_of(door)] &&
				held_overlaps(door, head, first, last);
}

static void clear_head(unsigned int door, unsigned int head)
{
	unsigned int i;

	if (!model.is_held[door][head])
		return;
	model.is_held[door][head] = false;
	for (i = 0; i < WAITS; i++)
		model.waits[i].head[door][head] = false;
	dma_clear(&doors[door], (uint16_t)head);
	dma_settle(&doors[door]);
}

/* --- ATTACH and DETACH --- */

static bool reaches_something(const struct model_endpoint *endpoint)
{
	return endpoint->id || model.bypass;
}

static bool is_identity(uint32_t id)
{
	return id ? model.domains[id].bypass : model.bypass;
}

static void leave(unsigned int index)
{
	struct model_endpoint *endpoint = &model.endpoints[index];
	uint32_t old = endpoint->id;
	unsigned int i;

	endpoint->id = 0;
	if (!old)
		return;
	for (i = 0; i < ENDPOINTS; i++)
		if (model.endpoints[i].id == old)
			return;
	memset(&model.domains[old], 0, sizeof(model.domains[old]));
}

/* Moves the endpoint in the model; the answer that is to be expected. */
static enum iommu_status move(unsigned int index, uint32_t id, bool bypass,
			      unsigned int place)
{
	struct model_endpoint *endpoint = &model.endpoints[index];
	bool identity = id ? bypass : model.bypass;
	bool waits = reaches_something(endpoint) &&
		     !(is_identity(endpoint->id) && identity);
	uint32_t left = model.domains[endpoint->id].instance;
	bool scope[ENDPOINTS] = { false };

	if (endpoint->leaving || (waits && place == WAITS))
		return IOMMU_DEVERR;
	leave(index);
	endpoint->id = id;
	if (id && !model.domains[id].instance) {
		model.domains[id].instance = ++model.next;
		model.domains[id].bypass = bypass;
	}
	if (!waits)
		return IOMMU_OK;
	endpoint->leaving = true;
	endpoint->left = left;
	scope[index] = true;
	park(place, scope, 0, UINT64_MAX, index);
	return IOMMU_DEFERRED;
}

static void run_attach(void)
{
	uint32_t code = take(1);
	uint32_t index = code % 3; /* one of them does not exist */
	uint32_t id = (code >> 2) % 6;
	uint32_t flags = (code >> 5) % 4 == 3 ? take(1) : (code >> 5) % 2;
	const struct model_domain *domain = &model.domains[id % (IDS + 1)];
	bool bypass = flags & 1;
	unsigned int place = wait_place();
	enum iommu_status expected;
	enum iommu_status status;

	if (flags > 1)
		expected = IOMMU_INVAL;
	else if (index >= ENDPOINTS)
		expected = IOMMU_NOENT;
	else if (id < 1 || id > IDS)
		expected = IOMMU_RANGE;
	else if (domain->instance && domain->bypass != bypass)
		expected = IOMMU_INVAL;
	else if (domain->instance && model.endpoints[index].id == id)
		expected = IOMMU_OK;
	else
		expected = move(index, id, bypass, place);
	iommu_begin(&iommu);
	status = iommu_attach(&iommu, id, index, flags, place);
	iommu_finish(&iommu);
	iommu_end(&iommu);
	check(status == expected);
}

static void run_detach(void)
{
	uint32_t code = take(1);
	uint32_t index = code % 3;
	uint32_t id = (code >> 2) % 6;
	unsigned int place = wait_place();
	enum iommu_status expected;
	enum iommu_status status;

	if (index >= ENDPOINTS)
		expected = IOMMU_NOENT;
	else if (!id || model.endpoints[index].id != id)
		expected = IOMMU_INVAL;
	else
		expected = move(index, 0, false, place);
	iommu_begin(&iommu);
	status = iommu_detach(&iommu, id, index, place);
	iommu_finish(&iommu);
	iommu_end(&iommu);
	check(status == expected);
}

/* --- MAP and UNMAP --- */

/* Whether the budget has what a MAP needs. */
static bool fits(struct model_domain *domain, uint64_t first, uint64_t last,
		 uint64_t physical)
{
	const struct table_memory *budget = &iommu.table_memory;
	const struct page_table *table = NULL;
	uint64_t roots = 0;
	uint64_t leaves = model_leaves(domain, first, last, physical, false);
	uint64_t most = budget->limit - MIN(budget->roots, budget->limit / 2);
	uint64_t room;
	unsigned int i;

	/* Which roots have been in use depends on the domain's place. */
	for (i = 0; i < iommu.domain_count; i++)
		if (iommu.domains[i].exists &&
		    &model.domains[iommu.domains[i].id] == domain)
			table = &iommu.domains[i].table;
	check(table);
	for (i = 0; i < END >> 32; i++)
		if (i >= first >> 32 && i <= last >> 32 && !table->blocks[i])
			roots += 9;
	if (roots > budget->limit - budget->used)
		return false;
	room = MIN(budget->limit - budget->used - roots, most - budget->fresh);
	return leaves <= room + budget->free_count;
}

static void run_map(void)
{
	uint32_t code = take(1);
	uint32_t id = code % 6;
	uint64_t first = take_address();
	uint64_t last = take_last(first);
	uint64_t physical = take_physical(first);
	uint32_t flags = code >> 3 < 29 ? (code >> 3) % 8 : code;
	struct model_domain *domain = &model.domains[id % (IDS + 1)];
	enum iommu_status expected;
	enum iommu_status status;

	if (flags > 7)
		expected = IOMMU_INVAL;
	else if (id < 1 || id > IDS || !domain->instance)
		expected = IOMMU_NOENT;
	else
		expected = model_judge(domain, first, last, physical);
	if (expected == IOMMU_OK && !fits(domain, first, last, physical))
		expected = IOMMU_NOMEM;
	if (expected == IOMMU_OK) {
		model_leaves(domain, first, last, physical, true);
		model_map(domain, first, last, physical, flags, ++model.next);
	}
	iommu_begin(&iommu);
	status = iommu_map(&iommu, id, IOVA(first), IOVA(last), GPA(physical),
			   flags);
	iommu_end(&iommu);
	check(status == expected);
	check(iommu.table_memory.used <= iommu.table_memory.limit);
}

static void run_unmap(void)
{
	uint32_t id = take(1) % 6;
	uint64_t first = take_address();
	uint64_t last = take_last(first);
	struct model_domain *domain = &model.domains[id % (IDS + 1)];
	unsigned int place = wait_place();
	bool scope[ENDPOINTS] = { false };
	enum iommu_status expected;
	enum iommu_status status;
	unsigned int i;

	if (id < 1 || id > IDS || !domain->instance)
		expected = IOMMU_NOENT;
	else if (domain->bypass || last < first)
		expected = IOMMU_INVAL;
	else if (place == WAITS)
		expected = IOMMU_DEVERR;
	else
		expected = model_unmap(domain, first, last);
	if (expected == IOMMU_OK) {
		for (i = 0; i < ENDPOINTS; i++)
			scope[i] =
				model.endpoints[i].id == id ||
				(model.endpoints[i].leaving &&
				 model.endpoints[i].left == domain->instance);
		park(place, scope, first, last, ENDPOINTS);
		expected = IOMMU_DEFERRED;
	}
	iommu_begin(&iommu);
	status = iommu_unmap(&iommu, id, IOVA(first), IOVA(last), place);
	iommu_finish(&iommu);
	iommu_end(&iommu);
	check(status == expected);
}

/* --- accesses --- */

/*
 * Where the byte at @address is for an endpoint. NULL when it may not be reached,
 * for *@reason.
 */
static uint8_t *expected_host(unsigned int index, uint64_t address,
			      enum dma_access access, enum fault_reason *reason)
{
	const struct model_endpoint *endpoint = &model.endpoints[index];
	const struct cell *cell;
	unsigned int i;

	*reason = FAULT_UNKNOWN;
	if (is_identity(endpoint->id))
		return guest_memory_host(&memory, GPA(address), 1);
	*reason = FAULT_DOMAIN;
	if (!endpoint->id)
		return NULL;
	*reason = FAULT_MAPPING;
	if (address >= END)
		return NULL;
	i = cell_of(address);
	cell = &model.domains[endpoint->id].cells[i];
	if (!cell->map || !(cell->flags & access))
		return NULL;
	*reason = FAULT_UNKNOWN;
	if (cell->flags & IOMMU_MAP_MMIO)
		return NULL;
	return guest_memory_host(
		&memory, GPA(cell->physical + (address - cell_first(i))), 1);
}

/* Compares @iov with the @bytes at @address, page by page. */
static void check_pieces(unsigned int index, const struct dma_span *span,
			 uint32_t offset, const struct iovec *iov, int count)
{
	enum fault_reason reason;
	int i;

	for (i = 0; i < count; i++) {
		uint8_t *host = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left > 0) {
			uint64_t address = span->first.v + offset;
			size_t here = MIN(left, P - address % P);

			check(offset + here <= span->len);
			check(expected_host(index, address, span->access,
					    &reason) == host);
			host += here;
			offset += (uint32_t)here;
			left -= here;
		}
	}
}

/* The first byte of @span from @offset on that may not be reached. */
static bool expected_fault(unsigned int index, const struct dma_span *span,
			   uint32_t offset, uint64_t *address,
			   enum fault_reason *reason)
{
	while (offset < span->len) {
		if (__builtin_add_overflow(span->first.v, offset, address))
			*address = UINT64_MAX;
		if (!expected_host(index, *address, span->access, reason))
			return true;
		offset += (uint32_t)MIN(P - *address % P,
					(uint64_t)(span->len - offset));
	}
	return false;
}

/* Translates all of @span, some iovecs at a time. */
static void translate(unsigned int door, const struct dma_span *span)
{
	unsigned int index = endpoint_of(door);
	struct dma_position position = { 0 };
	struct dma_fault fault;
	struct iovec iov[8];

	while (position.span == 0 && span->len > 0) {
		uint32_t offset = position.offset;
		enum fault_reason reason;
		uint64_t address;
		int count = dma_translate(&doors[door], span, 1, span->access,
					  span->len, &position, iov,
					  ARRAY_SIZE(iov), &fault);

		if (count < 0) {
			check(expected_fault(index, span, offset, &address,
					     &reason));
			check(fault.address.v == address);
			check(fault.reason == reason);
			check(fault.access == span->access);
			return;
		}
		check(count > 0);
		check_pieces(index, span, offset, iov, count);
	}
	check(position.offset == 0);
}

static struct dma_span take_span(void)
{
	uint64_t first = take_address();
	uint32_t code = take(2);
	uint32_t len = code < 0xe000 ? code : (code & 0x1fff) << 12;

	if (code & 1)
		first += code % P;
	return (struct dma_span){ IOVA(first), len,
				  code & 2 ? DMA_READ : DMA_WRITE };
}

static void run_access(unsigned int door, unsigned int head, bool hold)
{
	struct dma_span span = take_span();
	const struct dma_span *published;

	if (hold && model.is_held[door][head])
		return;
	if (!hold)
		head = HELD;
	check(!dma_publish(&doors[door], (uint16_t)head, &span, 1, &published));
	dma_commit(&doors[door]);
	translate(door, published);
	if (hold) {
		model.held[door][head] = span;
		model.is_held[door][head] = true;
		return;
	}
	dma_clear(&doors[door], (uint16_t)head);
	dma_settle(&doors[door]);
}

/* A ring part of a page and more, in a section. */
static void run_ring(unsigned int door)
{
	static struct dma_ring ring;
	struct dma_span span = take_span();
	unsigned int index = endpoint_of(door);
	enum fault_reason reason;
	struct dma_fault fault;
	uint64_t address;
	uint32_t at;
	int err;

	span.len = 1 + span.len % (3 * P);
	if (span.first.v > UINT64_MAX - span.len)
		return;
	err = dma_ring_map(&doors[door], &ring, span.first, span.len,
			   span.access, &fault);
	check(err == (expected_fault(index, &span, 0, &address, &reason)
			      ? -EFAULT
			      : 0));
	if (err) {
		check(fault.address.v == address && fault.reason == reason);
		return;
	}
	check(dma_rings_begin(&doors[door], &ring, 1, &fault));
	for (at = 0; at < span.len; at += 999)
		check(dma_ring_at(&ring, at) ==
		      expected_host(index, span.first.v + at, span.access,
				    &reason));
	dma_rings_end(&doors[door]);
}

/* --- register writes --- */

static bool any_held(unsigned int door)
{
	unsigned int head;

	for (head = 0; head < HELD; head++)
		if (held_overlaps(door, head, 0, UINT64_MAX))
			return true;
	return false;
}

static void clear_all(void)
{
	unsigned int door;
	unsigned int head;

	for (door = 0; door < DOORS; door++)
		for (head = 0; head < HELD; head++)
			clear_head(door, head);
}

/* A register write that took something away finishes before anything else. */
static void wait_until_quiet(int err, bool expected)
{
	check(err == (expected ? -EAGAIN : 0));
	check(quiets == 0);
	if (err)
		clear_all();
	iommu_begin(&iommu);
	check(iommu_is_quiet(&iommu));
	iommu_end(&iommu);
	check(quiets == expected);
	quiets = 0;
}

static void run_bypass(bool bypass)
{
	bool waits = false;
	unsigned int door;
	int err;

	for (door = 0; door < DOORS; door++)
		if (!model.endpoints[endpoint_of(door)].id && model.bypass &&
		    !bypass)
			waits |= any_held(door);
	model.bypass = bypass;
	iommu_begin(&iommu);
	err = iommu_set_bypass(&iommu, bypass);
	iommu_end(&iommu);
	wait_until_quiet(err, waits);
}

static void run_reset(void)
{
	bool waits = false;
	unsigned int i;
	int err;

	for (i = 0; i < DOORS; i++)
		waits |= any_held(i);
	memset(model.domains, 0, sizeof(model.domains));
	memset(model.endpoints, 0, sizeof(model.endpoints));
	memset(model.waits, 0, sizeof(model.waits));
	iommu_begin(&iommu);
	err = iommu_reset(&iommu);
	iommu_end(&iommu);
	wait_until_quiet(err, waits);
	for (i = 0; i < iommu.domain_count; i++)
		check(!iommu.domains[i].taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t code;

	input = data;
	input_left = size;
	start(take(1) & 1);
	while (input_left > 0) {
		code = take(1);
		switch (code % 16) {
		case 0:
			run_attach();
			break;
		case 1:
			run_detach();
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			run_map();
			break;
		case 6:
		case 7:
		case 8:
			run_unmap();
			break;
		case 9:
			run_access((code >> 4) % DOORS, take(1) % HELD, true);
			break;
		case 10:
			clear_head((code >> 4) % DOORS, take(1) % HELD);
			break;
		case 11:
			run_ring((code >> 4) % DOORS);
			break;
		case 12:
			if (code >> 4 == 15)
				run_reset();
			else if (code >> 4 >= 12)
				run_bypass(code >> 4 & 1);
			break;
		default:
			run_access((code >> 4) % DOORS, 0, false);
			break;
		}
		check_answers();
	}
	stop();
	return 0;
}
