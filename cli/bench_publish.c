/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a batch costs beside its translations. Its parts are too short for a clock,
 * so three loops are timed, each of which does more than the one before: publish
 * and clear; with dma_commit between them; with dma_settle at the end. The parts
 * are the differences.
 */
#include "cli/bench_dma.h"

#include "cli/bench_rig.h"
#include "cli/bench_rows.h"

#include <assert.h>

#define UNIT "ns per request"

/* Batches between two looks at the clock. */
#define WINDOW 64

/* One batch of requests of one piece. */
static inline void batch_run(struct dma *door, const struct dma_span *spans,
			     unsigned int batch, bool commit, bool settle)
{
	const struct dma_span *published;
	unsigned int i;

	for (i = 0; i < batch; i++) {
		int err = dma_publish(door, (uint16_t)i, &spans[i], 1,
				      &published);

		assert(err == 0);
		(void)err;
	}
	if (commit)
		dma_commit(door);
	for (i = 0; i < batch; i++)
		dma_clear(door, (uint16_t)i);
	if (settle)
		dma_settle(door);
}

/* ns per request of a batch. */
static double measure(struct dma *door, const struct dma_span *spans,
		      unsigned int batch, bool commit, bool settle,
		      uint64_t slice_ns)
{
	uint64_t begin = bench_now_ns();
	uint64_t requests = 0;
	uint64_t now;

	do {
		for (unsigned int i = 0; i < WINDOW; i++)
			batch_run(door, spans, batch, commit, settle);
		requests += (uint64_t)WINDOW * batch;
		now = bench_now_ns();
	} while (now - begin < slice_ns);
	return (double)(now - begin) / (double)requests;
}

static void publish_batch(struct dma *door, const char *name,
			  const struct dma_span *spans, unsigned int batch,
			  uint64_t slice_ns, struct bench_rows *rows)
{
	struct bench_key key = {
		.door = name,
		.request = BENCH_4K,
		.order = BENCH_SAME_32,
		.batch = batch,
	};
	double publish, commit, settle;

	dma_reset(door);
	measure(door, spans, batch, true, true, slice_ns / 4);
	publish = measure(door, spans, batch, false, false, slice_ns);
	commit = measure(door, spans, batch, true, false, slice_ns);
	settle = measure(door, spans, batch, true, true, slice_ns);

	key.measure = BENCH_PUBLISH;
	bench_row_sample(bench_rows_add(rows, &key, UNIT), publish);
	key.measure = BENCH_COMMIT;
	bench_row_sample(bench_rows_add(rows, &key, UNIT), commit - publish);
	key.measure = BENCH_SETTLE;
	bench_row_sample(bench_rows_add(rows, &key, UNIT), settle - commit);
}

void bench_publish(struct bench_rig *rig, uint64_t slice_ns,
		   struct bench_rows *rows)
{
	static const unsigned int batches[] = { 1, 8, BENCH_BATCH };
	struct dma_span spans[BENCH_BATCH];

	for (size_t i = 0; i < BENCH_BATCH; i++)
		spans[i] = (struct dma_span){
			.first = IOVA(
				bench_rig_buffer(rig, BENCH_BATCH - 1 - i)),
			.len = (uint32_t)rig->buffer_size,
			.access = DMA_WRITE,
		};
	for (unsigned int i = 0; i < ARRAY_SIZE(batches); i++) {
		publish_batch(&rig->off, "off", spans, batches[i], slice_ns,
			      rows);
		publish_batch(&rig->mapped, "iommu", spans, batches[i],
			      slice_ns, rows);
	}
}
