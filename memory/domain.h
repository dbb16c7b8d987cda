/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain: a map that endpoints share. It exists from the first ATTACH that names
 * it to the DETACH of its last endpoint. After that its place stays taken, and is
 * not found any more, while requests in flight may be using the old map.
 *
 * For memory/iommu.c, under its lock.
 */
#ifndef MEMORY_DOMAIN_H
#define MEMORY_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/page_table.h"

struct domain {
	bool taken;
	bool exists;
	bool bypass; /* no map: device address = guest address */
	uint32_t id;
	unsigned int endpoints; /* attached */
	unsigned int leaving; /* endpoints that left, and may still read it */
	struct page_table table; /* empty, for bypass */
};

/* The domain with that number among @count places, or NULL. */
struct domain *domain_find(struct domain *domains, unsigned int count,
			   uint32_t id);

/* A new one, without endpoints. One of the @count places is free. */
struct domain *domain_create(struct domain *domains, unsigned int count,
			     uint32_t id, bool bypass);

/*
 * To be called when @domain lost an endpoint, or an endpoint's last request. Ends
 * its existence, and gives its place away, if it is time for that. Returns the
 * pages that were mapped in it when it ceased to exist.
 */
uint64_t domain_release(struct domain *domain);

#endif
