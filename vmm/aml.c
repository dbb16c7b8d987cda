/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A term that holds others carries its length in front of
 * them (PkgLength), in one to four bytes depending on that length. So a body is
 * written where its length will stand, and moved up by the length's size when
 * it ends. Inner terms end first, so an outer body's start never moves.
 */
#include "vmm/aml.h"

#include <assert.h>
#include <string.h>

#include "memory/base.h"

/* ACPI 6.4, 20.3: byte codes. */
#define AML_NAME 0x08
#define AML_BYTE_PREFIX 0x0a
#define AML_WORD_PREFIX 0x0b
#define AML_DWORD_PREFIX 0x0c
#define AML_STRING_PREFIX 0x0d
#define AML_QWORD_PREFIX 0x0e
#define AML_SCOPE 0x10
#define AML_BUFFER 0x11
#define AML_PACKAGE 0x12
#define AML_METHOD 0x14
#define AML_DUAL_NAME_PREFIX 0x2e
#define AML_MULTI_NAME_PREFIX 0x2f
#define AML_EXTENDED 0x5b
#define AML_EXTENDED_DEVICE 0x82
#define AML_ARGUMENT_0 0x68
#define AML_NOTIFY 0x86
#define AML_EQUAL 0x93
#define AML_IF 0xa0

/* ACPI 6.4, 6.4.2 and 6.4.3: resource descriptors, their lengths included. */
#define RESOURCE_IO 0x47
#define RESOURCE_END 0x79
#define RESOURCE_MEMORY32_FIXED 0x86
#define RESOURCE_INTERRUPT 0x89
#define RESOURCE_DECODE16 0x01
#define RESOURCE_READ_WRITE 0x01
#define RESOURCE_CONSUMER_EDGE_HIGH_EXCLUSIVE 0x03

void aml_init(struct aml *aml, void *buffer, size_t size)
{
	aml->bytes = buffer;
	aml->size = size;
	aml->used = 0;
	aml->overflow = false;
}

static void put(struct aml *aml, const void *bytes, size_t count)
{
	if (aml->overflow || count > aml->size - aml->used) {
		aml->overflow = true;
		return;
	}
	memcpy(aml->bytes + aml->used, bytes, count);
	aml->used += count;
}

static void put_byte(struct aml *aml, unsigned int byte)
{
	uint8_t value = (uint8_t)byte;

	put(aml, &value, 1);
}

/* The @count lowest bytes of @value, lowest first. */
static void put_number(struct aml *aml, uint64_t value, unsigned int count)
{
	for (; count > 0; count--, value >>= 8)
		put_byte(aml, value & 0xff);
}

/* Puts @count bytes in front of what was written since @start. */
static void insert(struct aml *aml, size_t start, const void *bytes,
		   size_t count)
{
	size_t body = aml->used - start;

	put(aml, bytes, count); /* makes room, or not */
	if (aml->overflow)
		return;
	memmove(aml->bytes + start + count, aml->bytes + start, body);
	memcpy(aml->bytes + start, bytes, count);
}

/* ACPI 6.4, 20.2.2 */
static void put_path(struct aml *aml, const char *path)
{
	unsigned int segments = 1;
	const char *c;
	unsigned int i;

	if (*path == '\\')
		put_byte(aml, (unsigned char)*path++);
	for (c = path; *c; c++)
		segments += *c == '.';
	assert(*path && segments < 256);
	if (segments == 2)
		put_byte(aml, AML_DUAL_NAME_PREFIX);
	else if (segments > 2) {
		put_byte(aml, AML_MULTI_NAME_PREFIX);
		put_byte(aml, segments);
	}
	while (segments-- > 0) {
		for (i = 0; i < 4; i++) {
			bool more = *path && *path != '.';

			put_byte(aml, more ? (unsigned char)*path++ : '_');
		}
		assert(!*path || *path == '.');
		if (*path)
			path++;
	}
}

static struct aml_body body_begin(const struct aml *aml)
{
	return (struct aml_body){ aml->used };
}

/*
 * ACPI 6.4, 20.2.4: the length counts its own bytes. One byte holds 6 bits;
 * with more, the first holds the number of the others and the lowest 4 bits.
 */
void aml_end(struct aml *aml, struct aml_body body)
{
	size_t length = aml->used - body.start;
	uint8_t encoded[4];
	unsigned int more;
	unsigned int i;

	if (aml->overflow)
		return;
	if (length + 1 < 64) {
		encoded[0] = (uint8_t)(length + 1);
		insert(aml, body.start, encoded, 1);
		return;
	}
	for (more = 1; length + 1 + more >= (size_t)1 << (4 + 8 * more); more++)
		assert(more < 3);
	length += 1 + more;
	encoded[0] = (uint8_t)(more << 6 | (length & 0xf));
	for (i = 1; i <= more; i++)
		encoded[i] = (uint8_t)(length >> (8 * i - 4));
	insert(aml, body.start, encoded, 1 + more);
}

struct aml_body aml_scope_begin(struct aml *aml, const char *path)
{
	struct aml_body body;

	put_byte(aml, AML_SCOPE);
	body = body_begin(aml);
	put_path(aml, path);
	return body;
}

struct aml_body aml_device_begin(struct aml *aml, const char *path)
{
	struct aml_body body;

	put_byte(aml, AML_EXTENDED);
	put_byte(aml, AML_EXTENDED_DEVICE);
	body = body_begin(aml);
	put_path(aml, path);
	return body;
}

struct aml_body aml_method_begin(struct aml *aml, const char *path,
				 unsigned int arguments, bool serialized)
{
	struct aml_body body;

	assert(arguments <= 7);
	put_byte(aml, AML_METHOD);
	body = body_begin(aml);
	put_path(aml, path);
	put_byte(aml, arguments | (serialized ? 1u << 3 : 0));
	return body;
}

struct aml_body aml_if_argument_equals_begin(struct aml *aml,
					     unsigned int argument,
					     uint64_t value)
{
	struct aml_body body;

	assert(argument <= 6);
	put_byte(aml, AML_IF);
	body = body_begin(aml);
	put_byte(aml, AML_EQUAL);
	put_byte(aml, AML_ARGUMENT_0 + argument);
	aml_integer(aml, value);
	return body;
}

struct aml_body aml_package_begin(struct aml *aml, uint8_t elements)
{
	struct aml_body body;

	put_byte(aml, AML_PACKAGE);
	body = body_begin(aml);
	put_byte(aml, elements);
	return body;
}

void aml_name(struct aml *aml, const char *path)
{
	put_byte(aml, AML_NAME);
	put_path(aml, path);
}

/* ACPI 6.4, 20.2.3: the shortest form; 0 and 1 are opcodes of their own. */
void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, (unsigned int)value);
	} else if (value <= UINT8_MAX) {
		put_byte(aml, AML_BYTE_PREFIX);
		put_number(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		put_byte(aml, AML_WORD_PREFIX);
		put_number(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		put_byte(aml, AML_DWORD_PREFIX);
		put_number(aml, value, 4);
	} else {
		put_byte(aml, AML_QWORD_PREFIX);
		put_number(aml, value, 8);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	put_byte(aml, AML_STRING_PREFIX);
	put(aml, text, strlen(text) + 1);
}

static unsigned int hex_digit(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return (unsigned int)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* ACPI 6.4, 19.3.4: 5 bits a letter, 4 bits a digit, highest byte first. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint32_t value = 0;
	unsigned int i;

	assert(strlen(id) == 7);
	for (i = 0; i < 3; i++) {
		assert(id[i] >= 'A' && id[i] <= 'Z');
		value = value << 5 | (uint32_t)(id[i] - '@');
	}
	for (; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	put_byte(aml, AML_DWORD_PREFIX);
	put_number(aml, __builtin_bswap32(value), 4);
}

void aml_notify(struct aml *aml, const char *path, uint64_t value)
{
	put_byte(aml, AML_NOTIFY);
	put_path(aml, path);
	aml_integer(aml, value);
}

struct aml_body aml_resources_begin(struct aml *aml)
{
	put_byte(aml, AML_BUFFER);
	return body_begin(aml);
}

void aml_resources_end(struct aml *aml, struct aml_body body)
{
	uint8_t encoded[16];
	struct aml size;

	/* ACPI 6.4, 6.4.2.9: a checksum of 0 is taken as correct. */
	put_byte(aml, RESOURCE_END);
	put_byte(aml, 0);

	/* The buffer's size in bytes stands between PkgLength and content. */
	aml_init(&size, encoded, sizeof(encoded));
	aml_integer(&size, aml->used - body.start);
	insert(aml, body.start, encoded, size.used);
	aml_end(aml, body);
}

/* ACPI 6.4, 6.4.2.5 */
void aml_io(struct aml *aml, uint16_t port, uint8_t length)
{
	put_byte(aml, RESOURCE_IO);
	put_byte(aml, RESOURCE_DECODE16);
	put_number(aml, port, 2);
	put_number(aml, port, 2);
	put_byte(aml, 1);
	put_byte(aml, length);
}

/* ACPI 6.4, 6.4.3.4 */
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t length)
{
	put_byte(aml, RESOURCE_MEMORY32_FIXED);
	put_number(aml, 9, 2);
	put_byte(aml, RESOURCE_READ_WRITE);
	put_number(aml, base, 4);
	put_number(aml, length, 4);
}

/* ACPI 6.4, 6.4.3.6 */
void aml_interrupt(struct aml *aml, uint32_t number)
{
	put_byte(aml, RESOURCE_INTERRUPT);
	put_number(aml, 6, 2);
	put_byte(aml, RESOURCE_CONSUMER_EDGE_HIGH_EXCLUSIVE);
	put_byte(aml, 1);
	put_number(aml, number, 4);
}
