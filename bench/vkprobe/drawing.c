/* SPDX-License-Identifier: MIT */
/* Frames: of many small draws, of one triangle, of many layers, and frames that the processor reads back. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "probe.h"
#include "scene.h"

#define DRAWS 10000u
/* Small: it is the draws that cost, not their pixels. */
#define SIDE   256u
#define COLUMN 100u

struct drawing {
	struct pv_scene scene;
	uint32_t draws, layers;
	bool bind;
	struct pv_buffer copy;
};

/* Triangles of about two pixels all over the target. */
static void record_draws(VkCommandBuffer commands, void *user)
{
	struct drawing *drawing = user;

	pv_scene_begin(&drawing->scene, commands);
	pv_scene_place(&drawing->scene, commands, 0.0f, 0.0f, 0.02f);
	for (uint32_t i = 0; i < drawing->draws; i++) {
		if (drawing->bind) {
			pv_scene_bind(&drawing->scene, commands, i & 1);
			pv_scene_place(&drawing->scene, commands, (float)(i % COLUMN) * 0.02f - 1.0f,
				       (float)(i / COLUMN % COLUMN) * 0.02f - 1.0f, 0.02f);
		}
		vkCmdDraw(commands, 3, 1, 0, 0);
	}
	pv_scene_end(commands);
}

static void measure_draws(struct pv_probe *probe, struct pv_series *series, uint32_t draws, bool bind, uint32_t depth)
{
	struct drawing drawing = {.draws = draws, .bind = bind};

	pv_scene_init(&drawing.scene, probe, SIDE, SIDE);
	pv_measure_rate(probe, series, depth, draws, record_draws, &drawing);
	pv_scene_finish(&drawing.scene);
}

void pv_measure_draws_sync(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, DRAWS, false, 1);
}

void pv_measure_draws_queued(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, DRAWS, false, PV_PROBE_SLOTS);
}

/* With a descriptor set and push constants of its own for each draw, as programs do. */
void pv_measure_bound_draws_sync(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, DRAWS, true, 1);
}

void pv_measure_bound_draws_queued(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, DRAWS, true, PV_PROBE_SLOTS);
}

/* What the calling thread spends on recording a draw: of the frames above, the part that nothing can overlap with. */
static void measure_recording(struct pv_probe *probe, struct pv_series *series, bool bind)
{
	struct drawing drawing = {.draws = DRAWS, .bind = bind};
	struct pv_pipe pipe;

	pv_scene_init(&drawing.scene, probe, SIDE, SIDE);
	pv_pipe_init(&pipe, probe, 1);
	for (uint32_t i = 0; i < probe->options.repeats * 20 + 5; i++) {
		VkCommandBuffer commands = pv_pipe_begin(&pipe);
		const uint64_t began = pv_now_ns();

		record_draws(commands, &drawing);
		if (i >= 5)
			pv_series_add(series, (double)(pv_now_ns() - began) / DRAWS);
		pv_pipe_submit(&pipe);
	}
	pv_pipe_finish(&pipe);
	pv_scene_finish(&drawing.scene);
}

void pv_measure_recording(struct pv_probe *probe, struct pv_series *series)
{
	measure_recording(probe, series, false);
}

void pv_measure_bound_recording(struct pv_probe *probe, struct pv_series *series)
{
	measure_recording(probe, series, true);
}

void pv_measure_frames_sync(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, 1, false, 1);
}

void pv_measure_frames_queued(struct pv_probe *probe, struct pv_series *series)
{
	measure_draws(probe, series, 1, false, PV_PROBE_SLOTS);
}

static void record_fill(VkCommandBuffer commands, void *user)
{
	struct drawing *drawing = user;

	pv_scene_begin(&drawing->scene, commands);
	pv_scene_place(&drawing->scene, commands, -1.0f, -1.0f, 4.0f);
	for (uint32_t i = 0; i < drawing->layers; i++)
		vkCmdDraw(commands, 3, 1, 0, 0);
	pv_scene_end(commands);
}

/* Blended, so that no layer may be left out. */
void pv_measure_fill(struct pv_probe *probe, struct pv_series *series)
{
	struct drawing drawing = {.layers = probe->options.fill_layers};

	pv_scene_init(&drawing.scene, probe, 1920, 1080);
	pv_measure_rate(probe, series, 2, 1, record_fill, &drawing);
	pv_scene_finish(&drawing.scene);
}

static void record_read_back(VkCommandBuffer commands, void *user)
{
	struct drawing *drawing = user;
	const struct pv_image *target = &drawing->scene.target;
	const VkBufferImageCopy region = {
	    .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
	    .imageExtent = {target->width, target->height, 1},
	};
	const VkBufferMemoryBarrier written = {
	    .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
	    .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
	    .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
	    .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .buffer = drawing->copy.buffer,
	    .size = VK_WHOLE_SIZE,
	};

	record_draws(commands, drawing);
	vkCmdCopyImageToBuffer(commands, target->image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, drawing->copy.buffer, 1,
			       &region);
	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 0, NULL, 1,
			     &written, 0, NULL);
}

/* Each frame is drawn, waited for and copied to ordinary memory. */
void pv_measure_read_back(struct pv_probe *probe, struct pv_series *series)
{
	struct drawing drawing = {.draws = 1};
	struct pv_pipe pipe;
	unsigned char *picture;
	const unsigned char *pixel;

	pv_scene_init(&drawing.scene, probe, 1280, 720);
	drawing.copy = pv_buffer_create(probe, (VkDeviceSize)1280 * 720 * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT,
					VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
					VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
	picture = malloc(drawing.copy.size_bytes);
	if (!picture)
		pv_die("out of memory");
	pixel = picture + 4 * (361 * 1280 + 642);
	pv_pipe_init(&pipe, probe, 1);
	for (uint32_t i = 0; i <= probe->options.repeats; i++) {
		const uint64_t began = pv_now_ns();
		uint32_t frames = 0;

		do {
			record_read_back(pv_pipe_begin(&pipe), &drawing);
			pv_pipe_submit(&pipe);
			memcpy(picture, drawing.copy.mapped, drawing.copy.size_bytes);
			frames++;
		} while (pv_now_ns() - began < probe->options.sample_ns);
		/* The background's corner, and the triangle that starts in the middle. */
		if (picture[0] != picture[1] || pixel[0] == pixel[2])
			pv_die("what was read back is not what was drawn");
		if (i > 0)
			pv_series_add(series, frames * 1e9 / (double)(pv_now_ns() - began));
	}
	pv_pipe_finish(&pipe);
	free(picture);
	pv_buffer_destroy(probe, &drawing.copy);
	pv_scene_finish(&drawing.scene);
}

/*
 * Some drivers return before the pipeline is made. A frame that is drawn with it and waited for shows when it is, and
 * makes all compile what they left for the first use.
 */
void pv_measure_pipeline(struct pv_probe *probe, struct pv_series *series)
{
	struct drawing drawing = {.draws = 1};
	struct pv_pipe pipe;

	/* Another run must not find this one's pipelines in a cache on disk. */
	srand48((long)(pv_now_ns() ^ (uint64_t)time(NULL)));
	pv_scene_init(&drawing.scene, probe, SIDE, SIDE);
	pv_pipe_init(&pipe, probe, 1);
	for (uint32_t i = 0; i < probe->options.repeats * 4 + 2; i++) {
		const VkPipeline kept = drawing.scene.pipeline;
		const uint64_t began = pv_now_ns();

		drawing.scene.pipeline = pv_scene_create_pipeline(&drawing.scene, (float)drand48());
		record_draws(pv_pipe_begin(&pipe), &drawing);
		pv_pipe_submit(&pipe);
		if (i >= 2)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e6);
		vkDestroyPipeline(probe->device, drawing.scene.pipeline, NULL);
		drawing.scene.pipeline = kept;
	}
	pv_pipe_finish(&pipe);
	pv_scene_finish(&drawing.scene);
}
