/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cpio.h"

#include "cli/byte_stream.h"
#include "memory/base.h"

#include <string.h>

/* Magic, then thirteen numbers of eight hexadecimal digits. */
#define HEADER_BYTES 110
#define FIELD_SIZE 6
#define FIELD_NAME_SIZE 11

bool cpio_is_magic(const uint8_t *bytes)
{
	return memcmp(bytes, "070701", CPIO_MAGIC_BYTES) == 0 ||
	       memcmp(bytes, "070702", CPIO_MAGIC_BYTES) == 0;
}

static bool cpio_number(const uint8_t *header, unsigned int field,
			uint32_t *number)
{
	const uint8_t *digits = header + CPIO_MAGIC_BYTES + 8 * field;

	*number = 0;
	for (unsigned int i = 0; i < 8; i++) {
		uint8_t digit = digits[i];

		if (digit >= '0' && digit <= '9')
			digit = (uint8_t)(digit - '0');
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			digit = (uint8_t)((digit | 0x20) - 'a' + 10);
		else
			return false;
		*number = *number << 4 | digit;
	}
	return true;
}

/* Hands @bytes of content to the visitor, or passes over them. */
static bool cpio_content(struct byte_stream *stream,
			 const struct cpio_visitor *visitor, bool wanted,
			 uint64_t bytes)
{
	const uint8_t *part;
	size_t count;

	if (!wanted)
		return byte_stream_skip(stream, bytes);
	while (bytes > 0) {
		count = MIN(byte_stream_peek(stream, 1, &part), bytes);
		if (count == 0)
			return false;
		visitor->content(visitor->context, part, count);
		byte_stream_skip(stream, count);
		bytes -= count;
	}
	return true;
}

bool cpio_walk(struct byte_stream *stream, const struct cpio_visitor *visitor,
	       unsigned int *entries)
{
	uint64_t start = stream->offset;
	char name[CPIO_NAME_MAX];
	const uint8_t *bytes;
	uint32_t name_size;
	uint32_t size;
	bool wanted;

	for (*entries = 0; *entries < CPIO_ENTRIES_MAX; ++*entries) {
		if (byte_stream_peek(stream, HEADER_BYTES, &bytes) <
			    HEADER_BYTES ||
		    !cpio_is_magic(bytes) ||
		    !cpio_number(bytes, FIELD_SIZE, &size) ||
		    !cpio_number(bytes, FIELD_NAME_SIZE, &name_size))
			return false;
		if (name_size == 0 || name_size > sizeof(name) ||
		    byte_stream_peek(stream, HEADER_BYTES + name_size, &bytes) <
			    HEADER_BYTES + name_size)
			return false;
		memcpy(name, bytes + HEADER_BYTES, name_size);
		name[name_size - 1] = 0;
		byte_stream_skip(stream, HEADER_BYTES + name_size);
		/* Name and content are padded to four bytes. */
		if (!byte_stream_skip(stream, -(stream->offset - start) & 3))
			return false;
		if (strcmp(name, "TRAILER!!!") == 0)
			return byte_stream_skip(stream, size);
		wanted = visitor->entry(visitor->context, name, size);
		if (!cpio_content(stream, visitor, wanted, size) ||
		    !byte_stream_skip(stream, -(stream->offset - start) & 3))
			return false;
	}
	return false;
}
