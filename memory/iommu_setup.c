/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of memory/iommu.h that runs before the vCPUs do, and after: everything
 * that allocates.
 */
#include "memory/iommu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/domain.h"

static int domains_init(struct iommu *iommu, const struct iommu_config *config)
{
	unsigned int places = 2 * config->endpoints_max;
	int err;

	iommu->domains = calloc(places, sizeof(*iommu->domains));
	if (!iommu->domains)
		return -ENOMEM;
	while (iommu->domain_count < places) {
		err = page_table_init(
			&iommu->domains[iommu->domain_count].table,
			&iommu->table_memory, config->input_bits);
		if (err)
			return err;
		iommu->domain_count++;
	}
	return 0;
}

static void domains_destroy(struct iommu *iommu)
{
	while (iommu->domain_count > 0)
		page_table_destroy(
			&iommu->domains[--iommu->domain_count].table);
	free(iommu->domains);
}

static bool config_is_valid(const struct iommu_config *config)
{
	return config->input_bits >= IOMMU_INPUT_BITS_MIN &&
	       config->input_bits <= IOMMU_INPUT_BITS_MAX &&
	       config->domain_first <= config->domain_last &&
	       config->endpoints_max > 0 &&
	       config->endpoints_max <= IOMMU_ENDPOINTS_MAX &&
	       config->requests_max > 0 && config->faults_max > 0;
}

int iommu_init(struct iommu *iommu, const struct iommu_config *config)
{
	int err;

	if (!config_is_valid(config))
		return -EINVAL;
	memset(iommu, 0, sizeof(*iommu));
	iommu->input_last = (UINT64_C(1) << config->input_bits) - 1;
	iommu->domain_first = config->domain_first;
	iommu->domain_last = config->domain_last;
	iommu->endpoints_max = config->endpoints_max;
	iommu->bypass = config->bypass;

	err = table_memory_init(&iommu->table_memory, config->tables);
	if (err)
		return err;
	err = domains_init(iommu, config);
	if (err)
		goto err_destroy_domains;
	iommu->endpoints =
		calloc(config->endpoints_max, sizeof(*iommu->endpoints));
	if (!iommu->endpoints) {
		err = -ENOMEM;
		goto err_destroy_domains;
	}
	err = wait_list_init(&iommu->waits, config->requests_max);
	if (err)
		goto err_free_endpoints;
	err = fault_queue_init(&iommu->faults, config->faults_max);
	if (err)
		goto err_destroy_waits;
	lock_init(&iommu->lock);
	return 0;

err_destroy_waits:
	wait_list_destroy(&iommu->waits);
err_free_endpoints:
	free(iommu->endpoints);
err_destroy_domains:
	domains_destroy(iommu);
	table_memory_destroy(&iommu->table_memory);
	return err;
}

void iommu_destroy(struct iommu *iommu)
{
	lock_destroy(&iommu->lock);
	fault_queue_destroy(&iommu->faults);
	wait_list_destroy(&iommu->waits);
	free(iommu->endpoints);
	domains_destroy(iommu);
	table_memory_destroy(&iommu->table_memory);
}

struct iommu_endpoint *iommu_find_endpoint(const struct iommu *iommu,
					   uint32_t id)
{
	unsigned int i;

	for (i = 0; i < iommu->endpoint_count; i++)
		if (iommu->endpoints[i].id == id)
			return &iommu->endpoints[i];
	return NULL;
}

struct iommu_endpoint *iommu_add_endpoint(struct iommu *iommu, uint32_t id)
{
	struct iommu_endpoint *endpoint;

	if (iommu_find_endpoint(iommu, id) ||
	    iommu->endpoint_count == iommu->endpoints_max)
		return NULL;
	endpoint = &iommu->endpoints[iommu->endpoint_count++];
	endpoint->iommu = iommu;
	endpoint->id = id;
	endpoint->attachment = iommu->bypass ? IOMMU_TARGET_IDENTITY
					     : IOMMU_TARGET_NONE;
	return endpoint;
}

int iommu_reserve(struct iommu *iommu, iova_t first, iova_t last,
		  enum iommu_reserved_type type)
{
	unsigned int i;

	if (first.v > last.v || !is_aligned(first.v, IOMMU_GRANULE) ||
	    !is_aligned(last.v + 1, IOMMU_GRANULE))
		return -EINVAL;
	for (i = 0; i < iommu->reserved_count; i++) {
		const struct iommu_reserved *other = &iommu->reserved[i];

		if (first.v <= other->last.v && last.v >= other->first.v)
			return -EINVAL;
		/* virtio 1.2, 5.13.6.8.2.2: at most one MSI region. */
		if (type == IOMMU_RESERVED_MSI && other->type == type)
			return -EINVAL;
	}
	if (i == IOMMU_RESERVED_MAX)
		return -ENOSPC;
	iommu->reserved[i] = (struct iommu_reserved){ first, last, type };
	iommu->reserved_count++;
	return 0;
}

void iommu_set_answers(struct iommu *iommu, const struct iommu_answers *answers,
		       void *context)
{
	iommu->answers = answers;
	iommu->answers_context = context;
}

int iommu_join(struct iommu_endpoint *endpoint, struct in_flight *in_flight)
{
	struct iommu *iommu = endpoint->iommu;
	int err;

	lock_take(&iommu->lock);
	err = wait_list_add_door(&iommu->waits, in_flight, endpoint);
	lock_drop(&iommu->lock);
	return err;
}

void iommu_leave(struct iommu_endpoint *endpoint, struct in_flight *in_flight)
{
	struct iommu *iommu = endpoint->iommu;

	lock_take(&iommu->lock);
	wait_list_remove_door(&iommu->waits, in_flight);
	lock_drop(&iommu->lock);
}

const struct page_table *iommu_table(const struct iommu *iommu,
				     uint64_t attachment)
{
	uint64_t target = attachment & IOMMU_TARGET_MASK;

	assert(target >= IOMMU_TARGET_DOMAIN);
	return &iommu->domains[target - IOMMU_TARGET_DOMAIN].table;
}
