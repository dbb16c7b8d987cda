/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suggest.h"

#include "memory/base.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 63

/*
 * The "optimal string alignment" distance, three rows of its table at a time.
 */
unsigned int suggest_distance(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int *now = rows[i % 3];
		const unsigned int *above = rows[(i - 1) % 3];
		const unsigned int *before = rows[(i + 1) % 3]; /* i - 2 */

		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int best =
				above[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, above[j] + 1);
			best = MIN(best, now[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			now[j] = best;
		}
	}
	return rows[a_len % 3][b_len];
}

void suggest_consider(struct suggestion *suggestion, const char *word,
		      const char *candidate)
{
	unsigned int distance = suggest_distance(word, candidate);
	size_t len = strlen(word);

	/* A third of the letters may be wrong, one in a short word. */
	if (len == 0 || distance > MAX(len / 3, 1))
		return;
	if (suggestion->word && distance >= suggestion->distance)
		return;
	suggestion->word = candidate;
	suggestion->distance = distance;
}

const char *suggest_phrase(const struct suggestion *suggestion,
			   char buffer[static SUGGEST_PHRASE_MAX])
{
	buffer[0] = 0;
	if (suggestion->word)
		snprintf(buffer, SUGGEST_PHRASE_MAX, " (did you mean %s?)",
			 suggestion->word);
	return buffer;
}
