/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark measures what its rows say, by the door's own counters, and its
 * reports can be read. No time is judged here.
 */
#include "cli/bench.h"
#include "cli/bench_dma.h"
#include "cli/bench_report.h"
#include "cli/bench_rig.h"
#include "cli/bench_rows.h"
#include "cli/options.h"
#include "devices/error.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t few_mappings[] = { 1, 1000 };

static const struct bench_conditions conditions = { 0, 3, 1.5 };

/* Short samples of all rows; to be freed. */
static struct bench_rows *measured(void)
{
	const struct bench_plan plan = {
		.mappings = few_mappings,
		.mapping_count = ARRAY_SIZE(few_mappings),
		.repeats = 3,
		.slice_ns = 20000,
	};
	struct bench_rows *rows = calloc(1, sizeof(*rows));
	struct error error = { 0 };

	cr_assert_not_null(rows);
	cr_assert_eq(bench_dma_run(&plan, rows, &error), 0, "%s", error.text);
	return rows;
}

static bool is_translation(const struct bench_row *row, const char *door)
{
	return strcmp(row->key.measure, BENCH_TRANSLATE) == 0 &&
	       strcmp(row->key.door, door) == 0;
}

Test(bench, rows_of_hits_are_hits_and_rows_of_misses_are_misses)
{
	struct bench_rows *rows = measured();
	unsigned int hits = 0, misses = 0, others = 0;

	for (unsigned int i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];
		const char *request = row->key.request;

		cr_expect_eq(row->count, 3, "%s", row->key.measure);
		if (is_translation(row, "hit")) {
			cr_expect_eq(row->hits, row->pieces, "%s", request);
			cr_expect_eq(row->misses, 0, "%s", request);
			hits++;
		} else if (is_translation(row, "miss")) {
			cr_expect_eq(row->misses, row->pieces, "%s", request);
			cr_expect_eq(row->hits, 0, "%s", request);
			misses++;
		} else {
			cr_expect_eq(row->hits + row->misses, 0, "%s", request);
			others += is_translation(row, "off") ||
				  is_translation(row, "bypass");
		}
	}
	/* Of three requests, two maps; misses in two orders. */
	cr_expect_eq(hits, 6);
	cr_expect_eq(misses, 12);
	cr_expect_eq(others, 12);
	free(rows);
}

Test(bench, each_translation_has_a_walk_of_the_same_addresses)
{
	struct bench_rows *rows = measured();

	for (unsigned int i = 0; i < rows->count; i++) {
		struct bench_key key = rows->rows[i].key;

		if (strcmp(key.measure, BENCH_TRANSLATE) != 0)
			continue;
		key.measure = BENCH_WALK;
		key.door = "";
		cr_expect_not_null(bench_rows_find(rows, &key), "%s, %s",
				   key.request, key.order);
	}
	free(rows);
}

Test(bench, maps_unmaps_and_fences_have_their_rows)
{
	static const unsigned int batches[] = { 1, 8, 32 };
	static const char *const doors[] = { "off", "iommu" };
	struct bench_rows *rows = measured();

	for (unsigned int i = 0; i < ARRAY_SIZE(batches); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(doors); j++) {
			struct bench_key key = { BENCH_SETTLE,	doors[j],
						 BENCH_4K,	0,
						 BENCH_SAME_32, batches[i] };

			cr_expect_not_null(bench_rows_find(rows, &key));
			key.measure = BENCH_COMMIT;
			cr_expect_not_null(bench_rows_find(rows, &key));
			key.measure = BENCH_PUBLISH;
			cr_expect_not_null(bench_rows_find(rows, &key));
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(few_mappings); i++) {
		struct bench_key key = { BENCH_MAP,   "",
					 BENCH_64K,   few_mappings[i],
					 "ascending", 1 };
		const struct bench_row *row = bench_rows_find(rows, &key);

		cr_assert_not_null(row);
		cr_expect_gt(bench_row_summary(row).min, 0.0);
	}
	free(rows);
}

/* Two rows, whose reports are known to the letter. */
static struct bench_rows *known(void)
{
	struct bench_rows *rows = calloc(1, sizeof(*rows));
	struct bench_key hit = { BENCH_TRANSLATE, "hit",      BENCH_4K, 1000,
				 BENCH_SAME_32,	  BENCH_BATCH };
	struct bench_key off = hit;
	struct bench_row *row;

	cr_assert_not_null(rows);
	off.door = "off";
	row = bench_rows_add(rows, &off, "ns per piece");
	bench_row_sample(row, 4.0);
	row = bench_rows_add(rows, &hit, "ns per piece");
	bench_row_sample(row, 9.0);
	bench_row_sample(row, 5.25);
	bench_row_sample(row, 5.0);
	row->pieces = 64;
	row->hits = 63;
	row->misses = 1;
	return rows;
}

Test(bench_report, csv_has_a_line_of_names_and_a_line_per_row)
{
	struct bench_rows *rows = known();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	bench_report_csv(out, rows);
	fclose(out);
	cr_expect_str_eq(
		text,
		"measure,door,request,mappings,order,batch,unit,median,min,max,"
		"noisy,pieces,hits,misses\n"
		"translate,off,4 KiB,1000,same 32,32,ns per piece,4.000,4.000,"
		"4.000,0,0,0,0\n"
		"translate,hit,4 KiB,1000,same 32,32,ns per piece,5.250,5.000,"
		"9.000,1,64,63,1\n",
		"%s", text);
	free(text);
	free(rows);
}

Test(bench_report, json_is_one_object_with_an_object_per_row)
{
	struct bench_rows *rows = known();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	cr_expect_eq(bench_report_json(out, rows, &conditions), 0);
	fclose(out);
	cr_expect_str_eq(text,
			 "{\"version\": \"" SLUICE_VERSION "\", "
			 "\"benchmark\": \"dma\", \"cpu\": 0, \"repeats\": 3, "
			 "\"seconds\": 1.500, \"rows\": ["
			 "{\"measure\": \"translate\", \"door\": \"off\", "
			 "\"request\": \"4 KiB\", \"mappings\": 1000, "
			 "\"order\": \"same 32\", \"batch\": 32, "
			 "\"unit\": \"ns per piece\", \"median\": 4.000, "
			 "\"min\": 4.000, \"max\": 4.000, \"noisy\": false, "
			 "\"pieces\": 0, \"hits\": 0, \"misses\": 0}, "
			 "{\"measure\": \"translate\", \"door\": \"hit\", "
			 "\"request\": \"4 KiB\", \"mappings\": 1000, "
			 "\"order\": \"same 32\", \"batch\": 32, "
			 "\"unit\": \"ns per piece\", \"median\": 5.250, "
			 "\"min\": 5.000, \"max\": 9.000, \"noisy\": true, "
			 "\"pieces\": 64, \"hits\": 63, \"misses\": 1}]}\n",
			 "%s", text);
	free(text);
	free(rows);
}

Test(bench_report, text_has_medians_spreads_differences_and_shares)
{
	struct bench_rows *rows = known();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	bench_report_text(out, rows, &conditions);
	fclose(out);
	cr_expect_not_null(strstr(text, "| 4 KiB | 1000 | - | 4.0 (4.0 to 4.0) "
					"| - | ~5.2 (5.0 to 9.0) | 1.2 | "
					"98.4 % |\n"),
			   "%s", text);
	cr_expect_not_null(strstr(text,
				  "\nhit - off: 1.2 ns at most (aim: 5)\n"),
			   "%s", text);
	cr_expect_null(strstr(text, "miss - bare walk:"), "%s", text);
	free(text);
	free(rows);
}

Test(bench_rows, median_of_an_even_number_is_between_the_middle_two)
{
	struct bench_row row = { .count = 0 };
	struct bench_summary summary;

	bench_row_sample(&row, 40);
	bench_row_sample(&row, 10);
	bench_row_sample(&row, 30);
	bench_row_sample(&row, 11);
	summary = bench_row_summary(&row);
	cr_expect_eq(summary.median, 20.5);
	cr_expect_eq(summary.min, 10.0);
	cr_expect_eq(summary.max, 40.0);
	cr_expect(summary.noisy);
}

Test(bench_rows, one_wild_sample_makes_no_noise)
{
	struct bench_row row = { .count = 0 };

	for (unsigned int i = 0; i < 8; i++)
		bench_row_sample(&row, 10);
	bench_row_sample(&row, 1000);
	cr_expect_not(bench_row_summary(&row).noisy);
	cr_expect_eq(bench_row_summary(&row).median, 10.0);
}

Test(bench, a_file_that_cannot_be_written_is_one_line_and_status_2,
     .init = cr_redirect_stderr)
{
	const struct options options = { .verb = VERB_BENCH,
					 .benchmark = "dma",
					 .json = "/nowhere/x.json" };

	cr_expect_eq(bench_verb(&options), EXIT_STATUS_CONFIGURATION);
	cr_expect_stderr_eq_str(
		"sluice: --json: /nowhere/x.json: No such file or directory\n");
}
