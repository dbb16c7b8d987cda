/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one JSON text (RFC 8259) into memory. An element inside an object has
 * a key, one inside an array has none (NULL). Lack of memory is remembered and
 * told by json_finish.
 */
#ifndef VMM_JSON_H
#define VMM_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
	char *text; /* heap, owned */
	size_t used, size;
	bool needs_comma;
	bool failed;
};

void json_init(struct json *json);

void json_object(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array(struct json *json, const char *key);
void json_array_end(struct json *json);

void json_number(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
/* With three decimals; null where it is no number. */
void json_decimal(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* NULL is written as null; bytes that are no UTF-8 as U+FFFD. */
void json_string(struct json *json, const char *key, const char *value);

/* Ends the text with a newline and hands it over (free it), or NULL: no memory. */
char *json_finish(struct json *json, size_t *length);

#endif
