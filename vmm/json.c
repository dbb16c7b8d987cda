/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/json.h"

#include "memory/base.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_init(struct json *json)
{
	*json = (struct json){ 0 };
}

static void put(struct json *json, const char *bytes, size_t count)
{
	size_t size;
	char *text;

	if (json->failed)
		return;
	if (json->size - json->used < count + 1) {
		size = MAX(json->size * 2, json->used + count + 1024);
		text = realloc(json->text, size);
		if (!text) {
			json->failed = true;
			return;
		}
		json->text = text;
		json->size = size;
	}
	memcpy(json->text + json->used, bytes, count);
	json->used += count;
}

static void put_text(struct json *json, const char *text)
{
	put(json, text, strlen(text));
}

/* Length of the UTF-8 sequence at @bytes (RFC 3629), 0 when it is none. */
static size_t utf8_length(const unsigned char *bytes)
{
	unsigned char lead = bytes[0], low = 0x80, high = 0xbf;
	size_t length, i;

	if (lead >= 0xc2 && lead <= 0xdf)
		length = 2;
	else if (lead >= 0xe0 && lead <= 0xef)
		length = 3;
	else if (lead >= 0xf0 && lead <= 0xf4)
		length = 4;
	else
		return lead < 0x80;
	/* No overlong forms, surrogates, or anything above U+10FFFF. */
	if (lead == 0xe0)
		low = 0xa0;
	if (lead == 0xed)
		high = 0x9f;
	if (lead == 0xf0)
		low = 0x90;
	if (lead == 0xf4)
		high = 0x8f;
	for (i = 1; i < length; i++) {
		if (bytes[i] < low || bytes[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

static void put_quoted(struct json *json, const char *value)
{
	const unsigned char *at = (const unsigned char *)value;
	char escape[8];
	size_t length;

	put(json, "\"", 1);
	while (*at) {
		length = utf8_length(at);
		if (length == 0) {
			put_text(json, "\\ufffd");
			length = 1;
		} else if (*at == '"' || *at == '\\') {
			put(json, "\\", 1);
			put(json, (const char *)at, 1);
		} else if (*at < 0x20 || *at == 0x7f) {
			snprintf(escape, sizeof(escape), "\\u%04x", *at);
			put_text(json, escape);
		} else {
			put(json, (const char *)at, length);
		}
		at += length;
	}
	put(json, "\"", 1);
}

static void begin(struct json *json, const char *key)
{
	if (json->needs_comma)
		put(json, ", ", 2);
	json->needs_comma = true;
	if (!key)
		return;
	put_quoted(json, key);
	put(json, ": ", 2);
}

static void open_group(struct json *json, const char *key, const char *bracket)
{
	begin(json, key);
	put_text(json, bracket);
	json->needs_comma = false;
}

static void close_group(struct json *json, const char *bracket)
{
	put_text(json, bracket);
	json->needs_comma = true;
}

void json_object(struct json *json, const char *key)
{
	open_group(json, key, "{");
}

void json_object_end(struct json *json)
{
	close_group(json, "}");
}

void json_array(struct json *json, const char *key)
{
	open_group(json, key, "[");
}

void json_array_end(struct json *json)
{
	close_group(json, "]");
}

void json_number(struct json *json, const char *key, uint64_t value)
{
	char text[24];

	begin(json, key);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	put_text(json, text);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
	char text[24];

	begin(json, key);
	snprintf(text, sizeof(text), "%" PRId64, value);
	put_text(json, text);
}

void json_decimal(struct json *json, const char *key, double value)
{
	char text[328]; /* the largest one has 309 digits */

	if (!isfinite(value)) {
		json_null(json, key);
		return;
	}
	begin(json, key);
	snprintf(text, sizeof(text), "%.3f", value);
	put_text(json, text);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin(json, key);
	put_text(json, value ? "true" : "false");
}

void json_null(struct json *json, const char *key)
{
	begin(json, key);
	put_text(json, "null");
}

void json_string(struct json *json, const char *key, const char *value)
{
	begin(json, key);
	if (value)
		put_quoted(json, value);
	else
		put_text(json, "null");
}

char *json_finish(struct json *json, size_t *length)
{
	put(json, "\n", 1);
	if (json->failed) {
		free(json->text);
		json->text = NULL;
		return NULL;
	}
	json->text[json->used] = '\0'; /* put leaves room for it */
	*length = json->used;
	return json->text;
}
