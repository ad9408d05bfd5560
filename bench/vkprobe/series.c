/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "probe.h"

void pv_series_add(struct pv_series *series, double value)
{
	if (series->count == series->capacity) {
		series->capacity = series->capacity ? 2 * series->capacity : 64;
		double *values = realloc(series->values, series->capacity * sizeof(*values));

		if (!values)
			pv_die("out of memory");
		series->values = values;
	}
	series->values[series->count++] = value;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value that `part` of all values do not exceed. */
static double quantile(const struct pv_series *series, double part)
{
	return series->values[(uint32_t)(part * (series->count - 1) + 0.5)];
}

void pv_series_print(struct pv_series *series, const char *name, const char *unit)
{
	if (series->count == 0)
		pv_die("%s measured nothing", name);
	qsort(series->values, series->count, sizeof(*series->values), compare);
	printf("{\"name\":");
	pv_json_string(name);
	printf(",\"unit\":");
	pv_json_string(unit);
	printf(",\"samples\":%u,\"median\":%.6g,\"min\":%.6g,\"max\":%.6g,\"p90\":%.6g,\"p99\":%.6g}\n", series->count,
	       quantile(series, 0.5), series->values[0], series->values[series->count - 1], quantile(series, 0.9),
	       quantile(series, 0.99));
	fflush(stdout);
}

void pv_series_finish(struct pv_series *series)
{
	free(series->values);
	*series = (struct pv_series){0};
}
