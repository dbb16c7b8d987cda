/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/domain.h"

#include <assert.h>
#include <stddef.h>

struct domain *domain_find(struct domain *domains, unsigned int count,
			   uint32_t id)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (domains[i].exists && domains[i].id == id)
			return &domains[i];
	return NULL;
}

struct domain *domain_create(struct domain *domains, unsigned int count,
			     uint32_t id, bool bypass)
{
	struct domain *domain = domains;

	while (domain < domains + count && domain->taken)
		domain++;
	assert(domain < domains + count);
	domain->taken = true;
	domain->exists = true;
	domain->bypass = bypass;
	domain->id = id;
	return domain;
}

uint64_t domain_release(struct domain *domain)
{
	uint64_t pages = 0;

	if (domain->endpoints > 0)
		return 0;
	/* virtio 1.2, 5.13.6.4: the DETACH of the last endpoint destroys it. */
	if (domain->exists)
		pages = domain->table.mapped_pages;
	domain->exists = false;
	if (domain->leaving == 0) {
		page_table_clear(&domain->table);
		domain->taken = false;
	}
	return pages;
}
