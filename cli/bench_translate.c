/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window is 8 batches of 32 pieces: announced together, translated between two
 * looks at the clock, cleared again. So reading the clock costs each piece less
 * than 0.2 ns, and nothing but dma_translate is timed. A walk gets the addresses
 * out of the same spans, and leaves its answer in an iovec likewise.
 */
#include "cli/bench_dma.h"

#include "cli/bench_rig.h"
#include "cli/bench_rows.h"

#include <assert.h>
#include <string.h>

#define WINDOW (8 * BENCH_BATCH)

/* Windows before the first one that counts. */
#define WARM_UP 8

#define PIECES_MAX 16

struct request {
	const char *name;
	uint64_t buffer_size;
	unsigned int pieces;
};

static const struct request requests[] = {
	{ BENCH_4K, 4 * KIB, 1 },
	{ BENCH_16_PIECES, 4 * KIB, PIECES_MAX },
	{ BENCH_64K, 64 * KIB, 1 },
};

struct window {
	const struct bench_rig *rig;
	unsigned int pieces; /* of a request */
	size_t next; /* in the order of addresses */
	struct dma_span spans[WINDOW];
	const struct dma_span *published[WINDOW]; /* per request */
	unsigned int failed; /* requests */
	/* Time so far: publishing with the fence, and what is measured. */
	uint64_t announce_ns;
	uint64_t work_ns;
};

static void fill_same(struct window *window)
{
	for (size_t i = 0; i < WINDOW; i++)
		window->spans[i].first.v = bench_rig_buffer(
			window->rig, BENCH_BATCH - 1 - i % BENCH_BATCH);
}

static void fill_shuffled(struct window *window)
{
	const struct bench_rig *rig = window->rig;

	for (size_t i = 0; i < WINDOW; i++) {
		window->spans[i].first.v =
			bench_rig_buffer(rig, rig->shuffled[window->next]);
		window->next = (window->next + 1) % rig->buffer_count;
	}
}

static void fill_descending(struct window *window)
{
	size_t count = window->rig->buffer_count;

	for (size_t i = 0; i < WINDOW; i++) {
		window->spans[i].first.v =
			bench_rig_buffer(window->rig, count - 1 - window->next);
		window->next = (window->next + 1) % count;
	}
}

static void window_publish(struct window *window, struct dma *door)
{
	for (unsigned int i = 0; i < WINDOW / window->pieces; i++) {
		int err = dma_publish(door, (uint16_t)i,
				      &window->spans[i * window->pieces],
				      window->pieces, &window->published[i]);

		assert(err == 0);
		(void)err;
	}
	dma_commit(door);
}

static void window_clear(const struct window *window, struct dma *door)
{
	for (unsigned int i = 0; i < WINDOW / window->pieces; i++)
		dma_clear(door, (uint16_t)i);
	dma_settle(door);
}

/* Tells the compiler that somebody reads what @iov says. */
static inline void use(struct iovec *iov)
{
	__asm__ __volatile__("" ::"r"(iov) : "memory");
}

static unsigned int translate(struct window *window, struct dma *door)
{
	uint64_t len = window->pieces * window->rig->buffer_size;
	struct iovec iov[PIECES_MAX];
	unsigned int failed = 0;

	for (unsigned int i = 0; i < WINDOW / window->pieces; i++) {
		struct dma_position position = { 0 };
		struct dma_fault fault;

		failed += dma_translate(door, window->published[i],
					window->pieces, DMA_WRITE, len,
					&position, iov, PIECES_MAX,
					&fault) <= 0;
		use(iov);
	}
	return failed;
}

/* What the array says of @address. */
static inline void *array_at(const struct bench_rig *rig, uint64_t address)
{
	return rig->array[(address - BENCH_IOVA_FIRST) >> PAGE_SHIFT];
}

static unsigned int walk(struct window *window, struct dma *door)
{
	struct iovec iov;

	(void)door;
	for (unsigned int i = 0; i < WINDOW; i++) {
		const struct dma_span *span = &window->spans[i];

		iov.iov_base = array_at(window->rig, span->first.v);
		iov.iov_len = span->len;
		use(&iov);
	}
	return 0;
}

/* Each address depends on what was found for the last one. */
static unsigned int walk_dependent(struct window *window, struct dma *door)
{
	uint64_t none = 0;
	uint64_t found = 0;
	struct iovec iov;

	(void)door;
	__asm__("" : "+r"(none)); /* the compiler does not know that it is 0 */
	for (unsigned int i = 0; i < WINDOW; i++) {
		const struct dma_span *span = &window->spans[i];

		iov.iov_base = array_at(window->rig, span->first.v + found);
		found = (uintptr_t)iov.iov_base & none;
		iov.iov_len = span->len;
		use(&iov);
	}
	return 0;
}

/* One kind of row: which addresses, and what is done with them. */
struct work {
	const char *measure;
	const char *door_name;
	const char *order;
	struct dma *door; /* NULL: a walk */
	void (*fill)(struct window *window);
	/* What is timed. Returns how many requests failed. */
	unsigned int (*run)(struct window *window, struct dma *door);
};

static void window_run(struct window *window, const struct work *work)
{
	uint64_t before, begin, end;

	work->fill(window);
	before = bench_now_ns();
	if (work->door)
		window_publish(window, work->door);
	begin = bench_now_ns();
	window->failed += work->run(window, work->door);
	end = bench_now_ns();
	if (work->door)
		window_clear(window, work->door);
	window->announce_ns += begin - before;
	window->work_ns += end - begin;
}

/* A sample in ns per piece for each time that was taken. */
static void window_sample(const struct window *window, const struct work *work,
			  uint64_t pieces, struct bench_row *row,
			  struct bench_rows *rows)
{
	struct bench_key key = row->key;

	bench_row_sample(row, (double)window->work_ns / (double)pieces);
	row->pieces += pieces;
	if (!work->door)
		return;
	key.measure = BENCH_ANNOUNCE;
	bench_row_sample(bench_rows_add(rows, &key, row->unit),
			 (double)window->announce_ns / (double)pieces);
}

/* Windows for @slice_ns, a sample of @row. */
static bool sample(struct bench_rig *rig, const struct request *request,
		   const struct work *work, uint64_t slice_ns,
		   struct bench_row *row, struct bench_rows *rows)
{
	struct window window = { .rig = rig, .pieces = request->pieces };
	struct dma_counters before = { 0 };
	uint64_t pieces = 0;
	uint64_t stop;

	for (unsigned int i = 0; i < WINDOW; i++)
		window.spans[i] = (struct dma_span){
			.len = (uint32_t)rig->buffer_size,
			.access = DMA_WRITE,
		};
	/* From where the last sample stopped: all addresses get their turn. */
	window.next = row->pieces % rig->buffer_count;
	if (work->door)
		dma_reset(work->door);
	for (unsigned int i = 0; i < WARM_UP; i++)
		window_run(&window, work);
	if (work->door)
		before = work->door->counters;
	window.announce_ns = window.work_ns = 0;

	stop = bench_now_ns() + slice_ns;
	do {
		window_run(&window, work);
		pieces += WINDOW;
	} while (bench_now_ns() < stop);

	window_sample(&window, work, pieces, row, rows);
	if (work->door) {
		row->hits += work->door->counters.hits - before.hits;
		row->misses += work->door->counters.misses - before.misses;
	}
	return window.failed == 0;
}

static bool translate_request(struct bench_rig *rig,
			      const struct request *request, uint64_t slice_ns,
			      struct bench_rows *rows)
{
	const struct work works[] = {
		{ BENCH_TRANSLATE, "off", BENCH_SAME_32, &rig->off, fill_same,
		  translate },
		{ BENCH_TRANSLATE, "bypass", BENCH_SAME_32, &rig->bypass,
		  fill_same, translate },
		{ BENCH_TRANSLATE, "hit", BENCH_SAME_32, &rig->mapped,
		  fill_same, translate },
		{ BENCH_WALK, "", BENCH_SAME_32, NULL, fill_same, walk },
		{ BENCH_TRANSLATE, "miss", BENCH_SHUFFLED, &rig->mapped,
		  fill_shuffled, translate },
		{ BENCH_WALK, "", BENCH_SHUFFLED, NULL, fill_shuffled, walk },
		{ BENCH_TRANSLATE, "miss", BENCH_DESCENDING, &rig->mapped,
		  fill_descending, translate },
		{ BENCH_WALK, "", BENCH_DESCENDING, NULL, fill_descending,
		  walk },
		{ BENCH_DEPENDENT_WALK, "", BENCH_SHUFFLED, NULL, fill_shuffled,
		  walk_dependent },
	};
	bool good = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(works); i++) {
		struct bench_key key = {
			.measure = works[i].measure,
			.door = works[i].door_name,
			.request = request->name,
			.mappings = rig->mappings,
			.order = works[i].order,
			.batch = BENCH_BATCH,
		};

		/* Once is enough: it says what the memory does. */
		if (works[i].run == walk_dependent && request != requests)
			continue;
		good = sample(rig, request, &works[i], slice_ns,
			      bench_rows_add(rows, &key, "ns per piece"),
			      rows) &&
		       good;
	}
	return good;
}

bool bench_translate(struct bench_rig *rig, uint64_t slice_ns,
		     struct bench_rows *rows)
{
	bool good = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		if (requests[i].buffer_size == rig->buffer_size)
			good = translate_request(rig, &requests[i], slice_ns,
						 rows) &&
			       good;
	}
	return good;
}
