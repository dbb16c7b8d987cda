/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Did you mean": the nearest of the known words to one that is not known.
 */
#ifndef CLI_SUGGEST_H
#define CLI_SUGGEST_H

#include <stddef.h>

/* The nearest word so far. Zeroed at start. */
struct suggestion {
	const char *word; /* the caller's; NULL while nothing is near */
	unsigned int distance;
};

/*
 * Insertions, deletions, replacements and swaps of neighbours that turn @a
 * into @b; words of more than 63 bytes count as far from everything.
 */
unsigned int suggest_distance(const char *a, const char *b);

/* Takes @candidate where it is near to @word, and nearer than what is held. */
void suggest_consider(struct suggestion *suggestion, const char *word,
		      const char *candidate);

/* Room for what suggest_phrase writes. */
#define SUGGEST_PHRASE_MAX 96

/* " (did you mean WORD?)", or an empty text. Returns @buffer. */
const char *suggest_phrase(const struct suggestion *suggestion,
			   char buffer[static SUGGEST_PHRASE_MAX]);

#endif
