# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by the scripts of the kits.

# find_native DIR prints the manifest of the machine's Vulkan driver. It may be anywhere, or missing although the driver is there: one is
# then written to DIR.
find_native() {
    local file
    for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json /etc/vulkan/icd.d/nvidia_icd.json \
        /usr/share/vulkan/icd.d/nvidia_icd.json; do
        if [ -e "$file" ]; then echo "$file" && return; fi
    done
    printf '{"file_format_version":"1.0.1","ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.4.312"}}\n' >"$1/nvidia_icd.json"
    echo "$1/nvidia_icd.json"
}
