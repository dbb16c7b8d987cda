/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex whose use clang's -Wthread-safety checks at compile time; gcc sees
 * plain functions. What clang 14 checks in C:
 *
 *	void domain_unmap(struct domain *domain) LOCK_REQUIRES(domain->lock);
 *
 * warns in every caller that does not hold that lock; LOCK_EXCLUDES in every
 * caller that holds it; a function that ends with a lock it took, or takes one
 * twice, is warned of without any annotation.
 *
 * A field cannot name the lock beside it in C. LOCK_GUARDED on a field warns of
 * an access with no lock held at all; which lock it has to be is said in the
 * field's comment, and checked through the functions above.
 */
#ifndef MEMORY_LOCK_H
#define MEMORY_LOCK_H

#include <pthread.h>

#ifdef __clang__
#define LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define LOCK_ATTRIBUTE(x)
#endif

#define LOCK_CAPABILITY LOCK_ATTRIBUTE(capability("mutex"))
#define LOCK_ACQUIRES(...) LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define LOCK_RELEASES(...) LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
#define LOCK_REQUIRES(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define LOCK_EXCLUDES(...) LOCK_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define LOCK_GUARDED LOCK_ATTRIBUTE(guarded_var)
/* For the body of a function that clang cannot follow: say why beside it. */
#define LOCK_UNCHECKED LOCK_ATTRIBUTE(no_thread_safety_analysis)

struct LOCK_CAPABILITY lock {
	pthread_mutex_t mutex;
};

static inline void lock_init(struct lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
}

static inline void lock_destroy(struct lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

/* Unchecked inside: the mutex itself carries no annotation. */
static inline void lock_take(struct lock *lock) LOCK_UNCHECKED
	LOCK_ACQUIRES(lock)
{
	pthread_mutex_lock(&lock->mutex);
}

static inline void lock_drop(struct lock *lock) LOCK_UNCHECKED
	LOCK_RELEASES(lock)
{
	pthread_mutex_unlock(&lock->mutex);
}

#endif
