/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"

#include "cli/bench_dma.h"
#include "cli/bench_report.h"
#include "cli/bench_rows.h"
#include "cli/options.h"
#include "cli/problems.h"
#include "devices/error.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS_DEFAULT 15

/* A file that an option names, opened before anything is measured. */
struct output {
	const char *option;
	const char *path; /* NULL: not wanted */
	FILE *file;
};

static int output_fail(const struct output *output, enum exit_status status,
		       int number, struct error *error)
{
	return error_set(error, status, "%s: %s: %s", output->option,
			 output->path, strerror(number));
}

static int output_open(struct output *output, struct error *error)
{
	if (!output->path)
		return 0;
	output->file = fopen(output->path, "we");
	if (!output->file)
		return output_fail(output, EXIT_STATUS_CONFIGURATION, errno,
				   error);
	return 0;
}

/* Whatever was printed to it is in the file, or that is the error. */
static int output_close(struct output *output, struct error *error)
{
	FILE *file = output->file;
	bool failed;

	if (!file)
		return 0;
	output->file = NULL;
	failed = ferror(file) != 0;
	if (fclose(file) != 0 || failed)
		return output_fail(output, EXIT_STATUS_INTERNAL,
				   errno ? errno : EIO, error);
	return 0;
}

/* Stays on the processor that it is on, and returns that; -1 where it cannot. */
static int pin(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0)
		return -1;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -1 : cpu;
}

static void progress(const char *request, uint64_t mappings)
{
	fprintf(stderr, "\r\033[Kmeasuring %s, mappings: %" PRIu64, request,
		mappings);
}

static void warn_of_noise(const struct bench_rows *rows)
{
	unsigned int noisy = bench_rows_noisy(rows);
	char line[120];

	/* A few always are, where a machine has anything else to do. */
	if (noisy <= rows->count / 10)
		return;
	snprintf(line, sizeof(line),
		 "sluice: bench: the machine is not at rest: %u of %u rows are "
		 "noisy",
		 noisy, rows->count);
	problems_print(line);
}

static int measure(unsigned int seconds, struct bench_rows *rows,
		   struct bench_conditions *conditions, struct error *error)
{
	struct bench_plan plan = bench_dma_plan(seconds);
	bool terminal = isatty(STDERR_FILENO);
	uint64_t begin = bench_now_ns();
	int err;

	conditions->cpu = pin();
	conditions->repeats = plan.repeats;
	if (terminal)
		plan.progress = progress;
	err = bench_dma_run(&plan, rows, error);
	if (terminal)
		fprintf(stderr, "\r\033[K");
	conditions->seconds = (double)(bench_now_ns() - begin) / 1e9;
	return err;
}

static int run(const struct options *options, struct output *json,
	       struct output *csv, struct bench_rows *rows, struct error *error)
{
	struct bench_conditions conditions;

	if (output_open(json, error) || output_open(csv, error))
		return -1;
	if (measure(options->seconds ? options->seconds : SECONDS_DEFAULT, rows,
		    &conditions, error))
		return -1;
	bench_report_text(stdout, rows, &conditions);
	warn_of_noise(rows);
	if (csv->file)
		bench_report_csv(csv->file, rows);
	if (json->file && bench_report_json(json->file, rows, &conditions))
		return output_fail(json, EXIT_STATUS_INTERNAL, ENOMEM, error);
	if (output_close(json, error))
		return -1;
	return output_close(csv, error);
}

int bench_verb(const struct options *options)
{
	struct output json = { .option = "--json", .path = options->json };
	struct output csv = { .option = "--csv", .path = options->csv };
	struct problems problems = { .report = problems_report_all };
	struct bench_rows *rows = calloc(1, sizeof(*rows));
	struct error error = { 0 };
	int err;

	err = rows ? run(options, &json, &csv, rows, &error)
		   : error_set(&error, EXIT_STATUS_INTERNAL,
			       "bench: out of memory");
	if (json.file)
		fclose(json.file);
	if (csv.file)
		fclose(csv.file);
	free(rows);
	if (!err)
		return EXIT_STATUS_OK;
	problems_add_error(&problems, &error);
	return (int)error.status;
}
