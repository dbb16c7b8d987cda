/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a value may look like. Each function reads the whole of @text, or fills
 * @error with why not ("12x is not a size: ...", without file and key) and
 * returns -1, its result untouched.
 */
#ifndef CLI_CONFIG_VALUES_H
#define CLI_CONFIG_VALUES_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/* Bytes: a decimal number, then K, M or G (powers of 1024) or nothing. */
int config_values_size(const char *text, uint64_t *bytes, struct error *error);

/* A decimal number, then s or ms. */
int config_values_duration(const char *text, uint32_t *milliseconds,
			   struct error *error);

/* A decimal number from @min to @max. */
int config_values_count(const char *text, unsigned int min, unsigned int max,
			unsigned int *count, struct error *error);

/* yes or no. */
int config_values_boolean(const char *text, bool *value, struct error *error);

/* One of @choices, which ends with NULL: its index. */
int config_values_choice(const char *text, const char *const *choices,
			 unsigned int *index, struct error *error);

/* [a-z0-9-]{1,32} */
bool config_values_is_name(const char *text);
int config_values_name(const char *text, struct error *error);

/* Six bytes in hexadecimal, colons between; neither multicast nor all zero. */
int config_values_mac(const char *text, uint8_t mac[static 6],
		      struct error *error);

#endif
