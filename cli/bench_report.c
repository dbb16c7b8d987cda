/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_report.h"

#include "cli/bench_dma.h"
#include "cli/bench_rows.h"
#include "memory/base.h"
#include "vmm/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void row_json(struct json *json, const struct bench_row *row)
{
	struct bench_summary summary = bench_row_summary(row);

	json_object(json, NULL);
	json_string(json, "measure", row->key.measure);
	json_string(json, "door", row->key.door);
	json_string(json, "request", row->key.request);
	json_number(json, "mappings", row->key.mappings);
	json_string(json, "order", row->key.order);
	json_number(json, "batch", row->key.batch);
	json_string(json, "unit", row->unit);
	json_decimal(json, "median", summary.median);
	json_decimal(json, "min", summary.min);
	json_decimal(json, "max", summary.max);
	json_bool(json, "noisy", summary.noisy);
	json_number(json, "pieces", row->pieces);
	json_number(json, "hits", row->hits);
	json_number(json, "misses", row->misses);
	json_object_end(json);
}

int bench_report_json(FILE *out, const struct bench_rows *rows,
		      const struct bench_conditions *conditions)
{
	struct json json;
	size_t length;
	char *text;

	json_init(&json);
	json_object(&json, NULL);
	json_string(&json, "version", SLUICE_VERSION);
	json_string(&json, "benchmark", "dma");
	if (conditions->cpu < 0)
		json_null(&json, "cpu");
	else
		json_number(&json, "cpu", (uint64_t)conditions->cpu);
	json_number(&json, "repeats", conditions->repeats);
	json_decimal(&json, "seconds", conditions->seconds);
	json_array(&json, "rows");
	for (unsigned int i = 0; i < rows->count; i++)
		row_json(&json, &rows->rows[i]);
	json_array_end(&json);
	json_object_end(&json);
	text = json_finish(&json, &length);
	if (!text)
		return -ENOMEM;
	fwrite(text, 1, length, out);
	free(text);
	return 0;
}

/* No text in a row has a comma or a quote. */
void bench_report_csv(FILE *out, const struct bench_rows *rows)
{
	fprintf(out, "measure,door,request,mappings,order,batch,unit,median,"
		     "min,max,noisy,pieces,hits,misses\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];
		struct bench_summary summary = bench_row_summary(row);

		fprintf(out,
			"%s,%s,%s,%" PRIu64 ",%s,%u,%s,%.3f,%.3f,%.3f,%d,"
			"%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
			row->key.measure, row->key.door, row->key.request,
			row->key.mappings, row->key.order, row->key.batch,
			row->unit, summary.median, summary.min, summary.max,
			summary.noisy, row->pieces, row->hits, row->misses);
	}
}

static bool row_is(const struct bench_row *row, const char *measure,
		   const char *door)
{
	return strcmp(row->key.measure, measure) == 0 &&
	       (!door || strcmp(row->key.door, door) == 0);
}

/* The median of the row that differs from @row in @measure and @door alone. */
static double median_beside(const struct bench_rows *rows,
			    const struct bench_row *row, const char *measure,
			    const char *door)
{
	struct bench_key key = row->key;
	const struct bench_row *found;

	key.measure = measure;
	key.door = door;
	found = bench_rows_find(rows, &key);
	return found ? bench_row_summary(found).median : 0;
}

/* "5.3 (5.1 to 6.0)", with a mark where that is too wide to mean much. */
static void print_cell(FILE *out, const struct bench_row *row,
		       unsigned int digits)
{
	struct bench_summary summary = bench_row_summary(row);

	fprintf(out, " %s%.*f (%.*f to %.*f) |", summary.noisy ? "~" : "",
		(int)digits, summary.median, (int)digits, summary.min,
		(int)digits, summary.max);
}

static void print_cell_beside(FILE *out, const struct bench_rows *rows,
			      const struct bench_row *row, const char *measure,
			      const char *door)
{
	struct bench_key key = row->key;
	const struct bench_row *found;

	key.measure = measure;
	key.door = door;
	found = bench_rows_find(rows, &key);
	if (found)
		print_cell(out, found, 1);
	else
		fprintf(out, " - |");
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_hits(FILE *out, const struct bench_rows *rows)
{
	fprintf(out,
		"\nns per piece of the same 32 pieces, neighbours, from the last to the first, again and again\n\n"
		"| request | mappings | bare walk | IOMMU off | bypass | hit | hit - off | hits |\n"
		"|---|---|---|---|---|---|---|---|\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];

		if (!row_is(row, BENCH_TRANSLATE, "hit"))
			continue;
		fprintf(out, "| %s | %" PRIu64 " |", row->key.request,
			row->key.mappings);
		print_cell_beside(out, rows, row, BENCH_WALK, "");
		print_cell_beside(out, rows, row, BENCH_TRANSLATE, "off");
		print_cell_beside(out, rows, row, BENCH_TRANSLATE, "bypass");
		print_cell(out, row, 1);
		fprintf(out, " %.1f | %.1f %% |\n",
			bench_row_summary(row).median -
				median_beside(rows, row, BENCH_TRANSLATE,
					      "off"),
			percent(row->hits, row->hits + row->misses));
	}
}

static void print_misses(FILE *out, const struct bench_rows *rows)
{
	fprintf(out,
		"\nns per piece of all pieces in turn (1 mapping: one of 1000 pieces)\n\n"
		"| request | mappings | order of addresses | publish and commit | bare walk | miss | miss - walk | misses |\n"
		"|---|---|---|---|---|---|---|---|\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];

		if (!row_is(row, BENCH_TRANSLATE, "miss"))
			continue;
		fprintf(out, "| %s | %" PRIu64 " | %s |", row->key.request,
			row->key.mappings, row->key.order);
		print_cell_beside(out, rows, row, BENCH_ANNOUNCE, "miss");
		print_cell_beside(out, rows, row, BENCH_WALK, "");
		print_cell(out, row, 1);
		fprintf(out, " %.1f | %.1f %% |\n",
			bench_row_summary(row).median -
				median_beside(rows, row, BENCH_WALK, ""),
			percent(row->misses, row->hits + row->misses));
	}
}

static void print_dependent(FILE *out, const struct bench_rows *rows)
{
	fprintf(out,
		"\nns per address of a bare walk in which each depends on the last\n\n"
		"| request | mappings | order of addresses | walk |\n"
		"|---|---|---|---|\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];

		if (!row_is(row, BENCH_DEPENDENT_WALK, NULL))
			continue;
		fprintf(out, "| %s | %" PRIu64 " | %s |", row->key.request,
			row->key.mappings, row->key.order);
		print_cell(out, row, 1);
		fputc('\n', out);
	}
}

static void print_publication(FILE *out, const struct bench_rows *rows)
{
	fprintf(out,
		"\nns per request of one piece for what is done once per batch (commit and settle: the fences)\n\n"
		"| door | requests in a batch | publish and clear | commit | settle | sum |\n"
		"|---|---|---|---|---|---|\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];
		const char *door = row->key.door;

		if (!row_is(row, BENCH_PUBLISH, NULL))
			continue;
		fprintf(out, "| %s | %u |",
			strcmp(door, "off") == 0 ? "IOMMU off" : "IOMMU",
			row->key.batch);
		print_cell(out, row, 1);
		print_cell_beside(out, rows, row, BENCH_COMMIT, door);
		print_cell_beside(out, rows, row, BENCH_SETTLE, door);
		fprintf(out, " %.1f |\n",
			bench_row_summary(row).median +
				median_beside(rows, row, BENCH_COMMIT, door) +
				median_beside(rows, row, BENCH_SETTLE, door));
	}
}

static void print_map(FILE *out, const struct bench_rows *rows)
{
	fprintf(out,
		"\nMAP + UNMAP pairs per second, beside the mappings that are there\n\n"
		"| mapping | mappings | requests in a drain | pairs per second |\n"
		"|---|---|---|---|\n");
	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];

		if (!row_is(row, BENCH_MAP, NULL))
			continue;
		fprintf(out, "| %s | %" PRIu64 " | %u |", row->key.request,
			row->key.mappings, row->key.batch);
		print_cell(out, row, 0);
		fputc('\n', out);
	}
}

/* The largest difference of medians between @door and its yardstick. */
static void print_aim(FILE *out, const struct bench_rows *rows,
		      const char *door, const char *measure, const char *beside,
		      unsigned int aim)
{
	bool found = false;
	double most = 0;

	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];
		double more;

		if (!row_is(row, BENCH_TRANSLATE, door))
			continue;
		more = bench_row_summary(row).median -
		       median_beside(rows, row, measure, beside);
		most = found ? MAX(most, more) : more;
		found = true;
	}
	if (found)
		fprintf(out, "\n%s - %s: %.1f ns at most (aim: %u)\n", door,
			*beside ? beside : "bare walk", most, aim);
}

void bench_report_text(FILE *out, const struct bench_rows *rows,
		       const struct bench_conditions *conditions)
{
	fprintf(out,
		"Means over batches of %u translations that do not depend on each other; medians of\n"
		"%u samples (least to most), the rows of a map taken in turn",
		BENCH_BATCH, conditions->repeats);
	if (conditions->cpu >= 0)
		fprintf(out, ", on processor %d", conditions->cpu);
	fprintf(out, ", in %.0f s.\n%u of %u rows are noisy (~).\n",
		conditions->seconds, bench_rows_noisy(rows), rows->count);
	print_hits(out, rows);
	print_misses(out, rows);
	print_dependent(out, rows);
	print_publication(out, rows);
	print_map(out, rows);
	print_aim(out, rows, "hit", BENCH_TRANSLATE, "off", 5);
	print_aim(out, rows, "miss", BENCH_WALK, "", 10);
}
