/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_values.h"

#include "cli/suggest.h"
#include "devices/error.h"
#include "memory/base.h"
#include "vmm/config.h"

#include <stdio.h>
#include <string.h>

/* As much of a wrong value as an error repeats. */
#define SHOWN "%.60s"

static int values_reject(struct error *error, const char *text, const char *why)
{
	if (!*text)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "a value is missing: %s", why);
	return error_set(error, EXIT_STATUS_CONFIGURATION, SHOWN " is not %s",
			 text, why);
}

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

/*
 * The decimal digits at *@text, which is moved behind them. False: there are
 * none. *@overflow: they do not fit into 64 bits.
 */
static bool values_digits(const char **text, uint64_t *number, bool *overflow)
{
	const char *at = *text;

	*number = 0;
	*overflow = false;
	if (!is_digit(*at))
		return false;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(*at - '0'),
					   number))
			*overflow = true;
	}
	*text = at;
	return true;
}

int config_values_size(const char *text, uint64_t *bytes, struct error *error)
{
	static const char why[] =
		"a size: a number, and K, M or G behind it, as in 128M";
	const char *at = text;
	uint64_t number;
	uint64_t unit;
	bool overflow;

	if (!values_digits(&at, &number, &overflow))
		return values_reject(error, text, why);
	switch (*at) {
	case 0:
		unit = 1;
		break;
	case 'K':
		unit = KIB;
		break;
	case 'M':
		unit = MIB;
		break;
	case 'G':
		unit = GIB;
		break;
	default:
		return values_reject(error, text, why);
	}
	if (*at && at[1])
		return values_reject(error, text, why);
	if (overflow || __builtin_mul_overflow(number, unit, &number))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 SHOWN " is too large", text);
	*bytes = number;
	return 0;
}

int config_values_duration(const char *text, uint32_t *milliseconds,
			   struct error *error)
{
	static const char why[] =
		"a duration: a number, and s or ms behind it, as in 10s";
	const char *at = text;
	uint64_t number;
	uint64_t unit;
	bool overflow;

	if (!values_digits(&at, &number, &overflow))
		return values_reject(error, text, why);
	if (strcmp(at, "s") == 0)
		unit = 1000;
	else if (strcmp(at, "ms") == 0)
		unit = 1;
	else
		return values_reject(error, text, why);
	if (overflow || __builtin_mul_overflow(number, unit, &number) ||
	    number > INT32_MAX)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 SHOWN " is too long", text);
	*milliseconds = (uint32_t)number;
	return 0;
}

int config_values_count(const char *text, unsigned int min, unsigned int max,
			unsigned int *count, struct error *error)
{
	const char *at = text;
	uint64_t number;
	bool overflow;
	char why[64];

	snprintf(why, sizeof(why), "a number from %u to %u", min, max);
	if (!values_digits(&at, &number, &overflow) || *at || overflow ||
	    number < min || number > max)
		return values_reject(error, text, why);
	*count = (unsigned int)number;
	return 0;
}

int config_values_boolean(const char *text, bool *value, struct error *error)
{
	if (strcmp(text, "yes") == 0)
		*value = true;
	else if (strcmp(text, "no") == 0)
		*value = false;
	else
		return values_reject(error, text, "yes or no");
	return 0;
}

int config_values_choice(const char *text, const char *const *choices,
			 unsigned int *index, struct error *error)
{
	struct suggestion suggestion = { 0 };
	char phrase[SUGGEST_PHRASE_MAX];
	char why[160] = "one of";
	size_t len = strlen(why);

	for (unsigned int i = 0; choices[i]; i++) {
		if (strcmp(text, choices[i]) == 0) {
			*index = i;
			return 0;
		}
		suggest_consider(&suggestion, text, choices[i]);
		len += (size_t)snprintf(why + len, sizeof(why) - len, "%s %s",
					i ? "," : "", choices[i]);
		len = MIN(len, sizeof(why) - 1);
	}
	snprintf(why + len, sizeof(why) - len, "%s",
		 suggest_phrase(&suggestion, phrase));
	return values_reject(error, text, why);
}

bool config_values_is_name(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return len > 0 && len <= CONFIG_NAME_MAX && text[len] == 0;
}

int config_values_name(const char *text, struct error *error)
{
	if (config_values_is_name(text))
		return 0;
	return values_reject(error, text, "a name: 1 to 32 of a-z, 0-9 and -");
}

static int hex_digit(char byte)
{
	if (is_digit(byte))
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

int config_values_mac(const char *text, uint8_t mac[static 6],
		      struct error *error)
{
	static const char why[] =
		"a MAC address of one machine, as in 52:54:00:12:34:56";
	static const uint8_t zero[6];
	uint8_t bytes[6];

	if (strlen(text) != 17)
		return values_reject(error, text, why);
	for (unsigned int i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]);
		int low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || text[3 * i + 2] != (i < 5 ? ':' : 0))
			return values_reject(error, text, why);
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	if (bytes[0] & 1 || memcmp(bytes, zero, 6) == 0)
		return values_reject(error, text, why);
	memcpy(mac, bytes, 6);
	return 0;
}
