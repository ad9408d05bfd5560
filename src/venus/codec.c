/* SPDX-License-Identifier: MIT */
#include "venus/codec.h"

#include "venus/chain.h"
#include "venus/generated/commands.h"
#include "venus/generated/internal.h"

/* VK_PIPELINE_CREATE_2_DESCRIPTOR_HEAP_BIT_EXT, which older headers lack. */
#define PIPELINE_CREATE_2_DESCRIPTOR_HEAP_BIT UINT64_C(0x1000000000)

const char *pv_venus_command_name(uint32_t type)
{
	const char *name = type < PV_VENUS_NR_COMMANDS ? pv_venus_commands[type].name : NULL;

	return name ? name : "unknown";
}

void pv_venus_execute(struct pv_venus_decoder *d)
{
	struct pv_arena_block *block = d->arena.blocks;
	uint8_t *mark = d->arena.next;
	const uint8_t *at = pv_venus_take(d, 8, "command");
	uint32_t type;

	if (!at)
		return;
	type = pv_venus_load_u32(at);
	d->command_type = type;
	d->command_flags = pv_venus_load_u32(at + 4);
	d->tombstone = false;
	d->reply.overflow = false;
	if (__builtin_expect(type >= PV_VENUS_NR_COMMANDS || !pv_venus_commands[type].execute, 0)) {
		pv_venus_fail(d, pv_venus_command_name(type), "it is no command that a guest may send", type);
		return;
	}
	pv_venus_commands[type].execute(d);
	if (d->arena.next == mark)
		return;
	/* A nested stream's command gives back its own only: those of the command around it are in use. */
	if (d->arena.blocks == block)
		d->arena.next = mark;
	else if (!d->nested)
		pv_arena_reset(&d->arena);
}

/* ---- Handles ---- */

bool pv_venus_may_lack_layout(const void *chain)
{
	const VkPipelineCreateFlags2CreateInfo *flags =
	    pv_venus_chain_find(chain, VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO);

	return pv_venus_chain_find(chain, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT) ||
	       pv_venus_chain_find(chain, VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR) ||
	       (flags && flags->flags & PIPELINE_CREATE_2_DESCRIPTOR_HEAP_BIT);
}

bool pv_venus_may_lack_module(const void *chain)
{
	return pv_venus_chain_find(chain, VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO) ||
	       pv_venus_chain_find(chain, VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_MODULE_IDENTIFIER_CREATE_INFO_EXT);
}

bool pv_venus_check_VkSpecializationInfo(struct pv_venus_decoder *d, const VkSpecializationInfo *info)
{
	for (uint32_t i = 0; i < info->mapEntryCount; i++) {
		const VkSpecializationMapEntry *entry = &info->pMapEntries[i];

		if (entry->size > info->dataSize || entry->offset > info->dataSize - entry->size) {
			pv_venus_fail(d, "VkSpecializationInfo.pMapEntries", "it is outside of the data",
				      entry->offset);
			return false;
		}
	}
	return true;
}

/* ---- Descriptors ---- */

static bool must_not_be_null(struct pv_venus_decoder *d, const char *field)
{
	pv_venus_fail(d, field, "it must not be NULL", 0);
	return false;
}

static bool must_be_as_many(struct pv_venus_decoder *d, const char *field, uint32_t count)
{
	pv_venus_fail(d, field, "it has not as many elements as it should", count);
	return false;
}

static bool check_images(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write)
{
	for (uint32_t i = 0; i < write->descriptorCount; i++)
		if (!write->pImageInfo[i].imageView)
			return must_not_be_null(d, "VkWriteDescriptorSet.pImageInfo.imageView");
	return true;
}

static bool check_buffers(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write)
{
	for (uint32_t i = 0; i < write->descriptorCount; i++)
		if (!write->pBufferInfo[i].buffer)
			return must_not_be_null(d, "VkWriteDescriptorSet.pBufferInfo.buffer");
	return true;
}

static bool check_texel_buffers(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write)
{
	for (uint32_t i = 0; i < write->descriptorCount; i++)
		if (!write->pTexelBufferView[i])
			return must_not_be_null(d, "VkWriteDescriptorSet.pTexelBufferView");
	return true;
}

static bool check_acceleration_structures(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write, bool null)
{
	const VkWriteDescriptorSetAccelerationStructureKHR *all =
	    pv_venus_chain_find(write->pNext, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR);

	if (!all || all->accelerationStructureCount != write->descriptorCount)
		return must_be_as_many(d, "VkWriteDescriptorSetAccelerationStructureKHR.pAccelerationStructures",
				       write->descriptorCount);
	for (uint32_t i = 0; i < write->descriptorCount && !null; i++)
		if (!all->pAccelerationStructures[i])
			return must_not_be_null(d,
						"VkWriteDescriptorSetAccelerationStructureKHR.pAccelerationStructures");
	return true;
}

/* Of the others a driver may read as many bytes as there are descriptors. */
static bool check_inline_uniforms(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write)
{
	const VkWriteDescriptorSetInlineUniformBlock *block =
	    pv_venus_chain_find(write->pNext, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK);

	return (block && block->dataSize == write->descriptorCount) ||
	       must_be_as_many(d, "VkWriteDescriptorSetInlineUniformBlock.pData", write->descriptorCount);
}

bool pv_venus_check_VkWriteDescriptorSet(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write)
{
	/* A tombstone's handle is 0 as well; the command is skipped. */
	bool null = d->tombstone || pv_venus_may_be_null_descriptor(d);

	switch ((int)write->descriptorType) {
	case VK_DESCRIPTOR_TYPE_SAMPLER: /* whether the sampler may be NULL is for the set's layout to say */
	case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
	case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
	case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
	case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
		if (write->descriptorCount && !write->pImageInfo)
			return must_not_be_null(d, "VkWriteDescriptorSet.pImageInfo");
		return null || write->descriptorType == VK_DESCRIPTOR_TYPE_SAMPLER || check_images(d, write);
	case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
	case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
		if (write->descriptorCount && !write->pTexelBufferView)
			return must_not_be_null(d, "VkWriteDescriptorSet.pTexelBufferView");
		return null || check_texel_buffers(d, write);
	case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
	case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
	case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
	case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
		if (write->descriptorCount && !write->pBufferInfo)
			return must_not_be_null(d, "VkWriteDescriptorSet.pBufferInfo");
		return null || check_buffers(d, write);
	case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK:
		return check_inline_uniforms(d, write);
	case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR:
		return check_acceleration_structures(d, write, null);
	default:
		pv_venus_fail(d, "VkWriteDescriptorSet.descriptorType", "it is none that can be written",
			      (uint64_t)write->descriptorType);
		return false;
	}
}

/* ---- Arrays ---- */

bool pv_venus_need_array_more(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field)
{
	uint64_t bytes;

	if (!__builtin_mul_overflow(count, size, &bytes) && pv_venus_copy_more(d, bytes))
		return true;
	pv_venus_fail(d, field, "the stream ends before all its elements", count);
	d->cursor = d->end;
	return false;
}

void *pv_venus_alloc_array(struct pv_venus_decoder *d, uint64_t count, uint64_t wire_size, uint64_t size,
			   const char *field)
{
	/* At least 4 bytes of the stream each, so the product is small. */
	return pv_venus_need_array(d, count, wire_size, field) ? pv_venus_alloc(d, count * size) : NULL;
}

void *pv_venus_alloc_output(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field)
{
	if (count > PV_VENUS_MAX_OUTPUT) {
		pv_venus_fail(d, field, "it has too many elements", count);
		return NULL;
	}
	return pv_venus_alloc_zeroed(d, count * size);
}

void *pv_venus_alloc_zeroed(struct pv_venus_decoder *d, uint64_t size)
{
	void *memory = pv_venus_alloc(d, size);

	/* What the driver leaves as it is goes to the guest: it must not be what was here before. */
	return memory ? memset(memory, 0, size) : NULL;
}

bool pv_venus_take_ids(struct pv_venus_decoder *d, uint64_t count, uint64_t handle_size, const char *field,
		       void **handles, const uint64_t **ids)
{
	uint64_t *copy = pv_venus_alloc_array(d, count, 8, 8, field);
	const uint8_t *at = copy ? pv_venus_take(d, count * 8, field) : NULL;

	if (!at)
		return false;
	memcpy(copy, at, count * 8);
	*ids = copy;
	*handles = pv_venus_alloc_zeroed(d, count * handle_size);
	return *handles != NULL;
}

bool pv_venus_take_objects(struct pv_venus_decoder *d, uint64_t count, bool nullable, enum pv_venus_type type,
			   const char *field, void **handles, struct pv_venus_object *const **objects)
{
	/* Handles are pointers, or integers of the same size. */
	uint64_t *values = pv_venus_alloc_array(d, count, 8, 8, field);
	struct pv_venus_object **found = values ? pv_venus_alloc(d, count * sizeof(struct pv_venus_object *)) : NULL;
	const uint8_t *at = found ? pv_venus_take(d, count * 8, field) : NULL;

	if (!at)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!(nullable
			  ? pv_venus_load_object(d, pv_venus_load_u64(at + 8 * i), type, field, &found[i], &values[i])
			  : pv_venus_need_object(d, pv_venus_load_u64(at + 8 * i), type, field, &found[i], &values[i])))
			return false;
	*handles = values;
	*objects = found;
	return true;
}

bool pv_venus_decode_string(struct pv_venus_decoder *d, bool nullable, const char *field, const char **out)
{
	const uint8_t *at = pv_venus_take(d, 8, field);
	const void *bytes;
	uint64_t size;
	char *copy;

	*out = NULL;
	if (!at)
		return false;
	size = pv_venus_load_u64(at);
	if (size == 0 && !nullable)
		pv_venus_fail(d, field, "it must not be NULL", 0);
	if (size == 0)
		return nullable;
	if (!pv_venus_take_bytes(d, size, field, &bytes))
		return false;
	copy = pv_venus_alloc(d, size);
	if (!copy)
		return false;
	memcpy(copy, bytes, size);
	copy[size - 1] = '\0';
	*out = copy;
	return true;
}

bool pv_venus_decode_strings(struct pv_venus_decoder *d, uint64_t count, const char *field, const char *const **out)
{
	const char **strings;

	*out = NULL;
	if (count == 0)
		return true;
	strings = pv_venus_alloc_array(d, count, 8, sizeof(*strings), field);
	if (!strings)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!pv_venus_decode_string(d, false, field, &strings[i]))
			return false;
	*out = strings;
	return true;
}

/* ---- Chains ---- */

bool pv_venus_wrong_stype(struct pv_venus_decoder *d, const char *name, uint32_t stype)
{
	pv_venus_fail(d, name, "its sType is another struct's", stype);
	return false;
}

/*
 * On the wire a chain is nested: flag, sType A, (the chain behind A), members of A. That is, the sTypes come in order,
 * then the members in reverse. Read without recursion: guests may send long ones.
 */
bool pv_venus_decode_chain(struct pv_venus_decoder *d, const struct pv_venus_chain_set *set, bool partial,
			   const char *head, void *next)
{
	struct {
		const struct pv_venus_chain_struct *type;
		void *memory;
	} nodes[PV_VENUS_MAX_CHAIN];
	struct pv_venus_chain_set seen = {{0}};
	unsigned nr_nodes = 0;
	bool more = true;

	while (more) {
		const uint8_t *at = pv_venus_take(d, 12, head);
		const struct pv_venus_chain_struct *type;
		uint32_t stype;
		uint64_t bit;
		int number;

		if (!at)
			return false;
		stype = pv_venus_load_u32(at);
		more = pv_venus_load_u64(at + 4) != 0;
		number = pv_venus_chain_number(stype);
		if (number < 0 || !set || !(set->words[number / 64] & UINT64_C(1) << number % 64)) {
			pv_venus_fail(d, head, "a struct in its chain does not belong there", stype);
			return false;
		}
		type = &pv_venus_chain_structs[number];
		bit = UINT64_C(1) << number % 64;
		if ((seen.words[number / 64] & bit && !type->duplicates) || nr_nodes == PV_VENUS_MAX_CHAIN) {
			pv_venus_fail(d, head, "a struct is in its chain too often", stype);
			return false;
		}
		seen.words[number / 64] |= bit;
		nodes[nr_nodes].type = type;
		nodes[nr_nodes].memory = pv_venus_alloc_zeroed(d, type->size);
		if (!nodes[nr_nodes].memory)
			return false;
		nr_nodes++;
	}
	for (unsigned i = nr_nodes; i-- > 0;) {
		const struct pv_venus_chain_struct *type = nodes[i].type;
		bool (*decode)(struct pv_venus_decoder *, void *) = partial ? type->partial : type->decode;
		VkBaseOutStructure base = {.sType = (VkStructureType)type->stype,
					   .pNext = i + 1 < nr_nodes ? nodes[i + 1].memory : NULL};

		memcpy(nodes[i].memory, &base, sizeof(base));
		if (PV_NEVER(!decode) || !decode(d, nodes[i].memory))
			return false;
	}
	memcpy(next, &nodes[0].memory, sizeof(nodes[0].memory));
	return true;
}

/* The chain as the guest sent it. What a handler of ours put into it is passed over. */
void pv_venus_encode_head(struct pv_venus_reply *reply, VkStructureType stype, const void *next)
{
	struct {
		const struct pv_venus_chain_struct *type;
		const void *memory;
	} nodes[PV_VENUS_MAX_CHAIN];
	unsigned nr_nodes = 0;

	pv_venus_reply_u32(reply, (uint32_t)stype);
	while (next && nr_nodes < PV_VENUS_MAX_CHAIN) {
		VkBaseInStructure base;
		int number;

		memcpy(&base, next, sizeof(base));
		number = pv_venus_chain_number((uint32_t)base.sType);
		if (number >= 0 && pv_venus_chain_structs[number].encode) {
			nodes[nr_nodes].type = &pv_venus_chain_structs[number];
			nodes[nr_nodes++].memory = next;
			pv_venus_reply_u64(reply, 1);
			pv_venus_reply_u32(reply, (uint32_t)base.sType);
		}
		next = base.pNext;
	}
	pv_venus_reply_u64(reply, 0);
	for (unsigned i = nr_nodes; i-- > 0;)
		nodes[i].type->encode(reply, nodes[i].memory);
}

/* ---- Replies ---- */

void pv_venus_reply_end(struct pv_venus_decoder *d)
{
	if (__builtin_expect(d->reply.overflow, 0))
		pv_venus_fail(d, pv_venus_command_name(d->command_type), "its reply does not fit",
			      (uint64_t)(d->reply.end - d->reply.cursor));
}

void pv_venus_reply_plain(struct pv_venus_decoder *d, uint32_t command)
{
	pv_venus_reply_u32(&d->reply, command);
	pv_venus_reply_end(d);
}

bool pv_venus_reserve_blob(struct pv_venus_decoder *d, uint64_t ahead, uint64_t bytes, const char *field, void **out)
{
	uint64_t room = (uint64_t)(d->reply.end - d->reply.cursor);

	if (!(d->command_flags & PV_VENUS_GENERATE_REPLY)) {
		*out = pv_venus_alloc(d, bytes);
		return *out != NULL;
	}
	if (ahead > room || bytes > room - ahead) {
		pv_venus_fail(d, field, "it does not fit in the reply", bytes);
		return false;
	}
	*out = d->reply.cursor + ahead;
	return true;
}

void pv_venus_reply_blob(struct pv_venus_decoder *d, const void *blob, uint64_t bytes)
{
	uint64_t count = blob ? bytes : 0;
	uint8_t *at;

	pv_venus_reply_u64(&d->reply, count);
	at = pv_venus_reply_reserve_filled(&d->reply, count);
	/* A handler may have had its own idea of where to put it. */
	if (at && count && at != blob)
		memmove(at, blob, count);
}
