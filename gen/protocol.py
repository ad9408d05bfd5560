# SPDX-License-Identifier: MIT
"""Which commands are not simply passed on to the driver."""

# Code of ours executes these: void pv_venus_handle_NAME(struct pv_venus_decoder *, struct pv_venus_args_NAME *). A handler
# does all the work on the object table for what its command makes and destroys.
HANDLERS = """
vkSetReplyCommandStreamMESA vkSeekReplyCommandStreamMESA vkExecuteCommandStreamsMESA
vkCreateRingMESA vkDestroyRingMESA vkNotifyRingMESA vkWriteRingExtraMESA
vkSubmitVirtqueueSeqnoMESA vkWaitVirtqueueSeqnoMESA vkWaitRingSeqnoMESA

vkCreateInstance vkDestroyInstance vkEnumerateInstanceVersion vkEnumerateInstanceExtensionProperties
vkEnumeratePhysicalDevices vkEnumeratePhysicalDeviceGroups vkEnumerateDeviceExtensionProperties
vkGetPhysicalDeviceProperties vkGetPhysicalDeviceProperties2
vkGetPhysicalDeviceMemoryProperties vkGetPhysicalDeviceMemoryProperties2
vkGetPhysicalDeviceFeatures vkGetPhysicalDeviceFeatures2
vkGetPhysicalDeviceFormatProperties vkGetPhysicalDeviceFormatProperties2
vkGetPhysicalDeviceImageFormatProperties vkGetPhysicalDeviceImageFormatProperties2
vkGetPhysicalDeviceSparseImageFormatProperties vkGetPhysicalDeviceSparseImageFormatProperties2
vkGetPhysicalDeviceQueueFamilyProperties vkGetPhysicalDeviceQueueFamilyProperties2
vkGetPhysicalDeviceExternalBufferProperties vkGetPhysicalDeviceExternalFenceProperties
vkGetPhysicalDeviceExternalSemaphoreProperties

vkCreateDevice vkDestroyDevice vkGetDeviceQueue2 vkQueueSubmit vkQueueSubmit2 vkQueueBindSparse
vkAllocateMemory vkFreeMemory vkGetMemoryResourcePropertiesMESA vkCreateBuffer vkCreateImage
vkGetBufferMemoryRequirements vkGetBufferMemoryRequirements2 vkGetImageMemoryRequirements vkGetImageMemoryRequirements2
vkGetImageSubresourceLayout vkGetImageSubresourceLayout2 vkGetImageDrmFormatModifierPropertiesEXT
vkGetDeviceBufferMemoryRequirements vkGetDeviceImageMemoryRequirements vkGetDeviceImageSubresourceLayout
vkCreateFence vkCreateSemaphore vkGetFenceStatus vkGetSemaphoreCounterValue vkWaitForFences vkWaitSemaphores
vkResetFenceResourceMESA vkWaitSemaphoreResourceMESA vkImportSemaphoreResourceMESA
vkCmdPipelineBarrier vkCmdPipelineBarrier2 vkCmdWaitEvents vkCmdWaitEvents2 vkCmdSetEvent2
vkAllocateCommandBuffers vkFreeCommandBuffers vkDestroyCommandPool
vkAllocateDescriptorSets vkFreeDescriptorSets vkDestroyDescriptorPool vkResetDescriptorPool
vkCreateQueryPool vkGetQueryPoolResults
vkGetRayTracingShaderGroupHandlesKHR vkGetRayTracingCaptureReplayShaderGroupHandlesKHR
vkCopyImageToMemoryMESA vkCopyMemoryToImageMESA vkWriteSamplerDescriptorMESA vkWriteResourceDescriptorMESA
""".split()

# Of those, the ones that are called when an object they name is a tombstone: they take things back.
HANDLES_TOMBSTONES = """
vkDestroyInstance vkFreeMemory
vkFreeCommandBuffers vkDestroyCommandPool vkFreeDescriptorSets vkDestroyDescriptorPool
""".split()

# Decoded by nobody: a guest that sends one has lost its way.
REFUSED = {
    "vkQueueWaitIdle": "the guest waits for a fence instead",
    "vkDeviceWaitIdle": "the guest waits for fences instead",
    "vkGetDeviceQueue": "vkGetDeviceQueue2 it must be: it says which timeline the queue has",
    **dict.fromkeys("""
        vkEnumerateInstanceLayerProperties vkEnumerateDeviceLayerProperties vkUnmapMemory vkUnmapMemory2
        vkFlushMappedMemoryRanges vkInvalidateMappedMemoryRanges vkGetPhysicalDeviceToolProperties
        vkCreatePrivateDataSlot vkDestroyPrivateDataSlot vkSetPrivateData vkGetPrivateData
        vkCreateDeferredOperationKHR vkDestroyDeferredOperationKHR vkGetDeferredOperationMaxConcurrencyKHR
        vkGetDeferredOperationResultKHR vkDeferredOperationJoinKHR vkCopyAccelerationStructureKHR
        vkWriteAccelerationStructuresPropertiesKHR""".split(), "the guest does it itself"),
}

# With an object of theirs missing these report a lost device: nothing can be waited for.
LOST_WITH_TOMBSTONES = """
vkQueueSubmit vkQueueSubmit2 vkQueueBindSparse vkWaitForFences vkWaitSemaphores vkGetFenceStatus
vkGetSemaphoreCounterValue vkGetEventStatus vkGetQueryPoolResults
""".split()

# Handles that may be NULL in their struct, but not in each command that takes it: command -> array, count, member.
NEVER_NULL_HERE = {
    "vkUpdateDescriptorSets": ("pDescriptorWrites", "descriptorWriteCount", "dstSet"),
    "vkCmdBuildAccelerationStructuresKHR": ("pInfos", "infoCount", "dstAccelerationStructure"),
    "vkCmdBuildAccelerationStructuresIndirectKHR": ("pInfos", "infoCount", "dstAccelerationStructure"),
}

# Structs of which members depend on others in ways vk.xml does not tell: bool pv_venus_check_NAME(struct pv_venus_decoder *,
# const NAME *) looks at one when it is decoded.
CHECKED = ("VkSpecializationInfo", "VkWriteDescriptorSet")

# Functions our own code wants as well.
MORE_FUNCTIONS = """
vkGetMemoryHostPointerPropertiesEXT
""".split()

# Loaded without an instance, so of no table.
GLOBAL_FUNCTIONS = """
vkCreateInstance vkEnumerateInstanceVersion vkEnumerateInstanceExtensionProperties vkEnumerateInstanceLayerProperties
vkGetInstanceProcAddr
""".split()

# Structs whose decoding leaves the object of a handle for the handler: struct -> member.
POOL_MEMBERS = {
    "VkCommandBufferAllocateInfo": "commandPool",
    "VkDescriptorSetAllocateInfo": "descriptorPool",
    # Not pools, but it is the same thing that is wanted.
    "VkBufferMemoryRequirementsInfo2": "buffer",
    "VkImageMemoryRequirementsInfo2": "image",
    "VkCopyImageToMemoryInfoMESA": "srcImage",
    "VkCopyMemoryToImageInfoMESA": "dstImage",
}

# The object types of src/venus/object.h, in its order.
OBJECT_TYPES = """
VkInstance VkPhysicalDevice VkDevice VkQueue VkCommandBuffer VkSemaphore VkFence VkDeviceMemory VkBuffer VkImage VkEvent
VkQueryPool VkBufferView VkImageView VkShaderModule VkPipelineCache VkPipelineLayout VkRenderPass VkPipeline
VkDescriptorSetLayout VkSampler VkDescriptorPool VkDescriptorSet VkFramebuffer VkCommandPool VkSamplerYcbcrConversion
VkDescriptorUpdateTemplate VkPrivateDataSlot VkDeferredOperationKHR VkAccelerationStructureKHR VkTensorARM
""".split()
