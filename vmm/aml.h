/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ACPI Machine Language (ACPI 6.4, chapter 20): the few terms that this
 * platform's DSDT is made of. Terms are appended in order; those that hold
 * others are a begin/end pair, and the end puts their length in front.
 *
 * What does not fit into the buffer is left out and `overflow` is set: look at
 * it once at the end. All names and numbers are the program's own, never a
 * guest's: wrong ones are asserted on.
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes; /* the caller's */
	size_t size;
	size_t used;
	bool overflow;
};

/* Where an open term's body starts; for the matching end. */
struct aml_body {
	size_t start;
};

void aml_init(struct aml *aml, void *buffer, size_t size);

/*
 * Paths: an optional '\', then segments of at most 4 characters with dots
 * between them; short segments are padded with '_'.
 */
struct aml_body aml_scope_begin(struct aml *aml, const char *path);
struct aml_body aml_device_begin(struct aml *aml, const char *path);
struct aml_body aml_method_begin(struct aml *aml, const char *path,
				 unsigned int arguments, bool serialized);
/* If (ArgN == value) */
struct aml_body aml_if_argument_equals_begin(struct aml *aml,
					     unsigned int argument,
					     uint64_t value);
struct aml_body aml_package_begin(struct aml *aml, uint8_t elements);
void aml_end(struct aml *aml, struct aml_body body);

/* Name (path, value): the value is the next term. */
void aml_name(struct aml *aml, const char *path);

void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* @id: three capital letters and four hexadecimal digits, "PNP0501". */
void aml_eisa_id(struct aml *aml, const char *id);
void aml_notify(struct aml *aml, const char *path, uint64_t value);

/* ResourceTemplate: a buffer of the descriptors written between begin and end. */
struct aml_body aml_resources_begin(struct aml *aml);
void aml_resources_end(struct aml *aml, struct aml_body body);
/* IO (Decode16, port, port, 1, length) */
void aml_io(struct aml *aml, uint16_t port, uint8_t length);
/* Memory32Fixed (ReadWrite, base, length) */
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t length);
/* Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {number} */
void aml_interrupt(struct aml *aml, uint32_t number);

#endif
