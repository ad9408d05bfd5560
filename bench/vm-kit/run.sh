#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs a guest on this machine's GPU with what ./run bench vm-kit has packed: bash run.sh [OPTIONS of bench/vm-kit/measure.py]
#   OUT=DIR            where results go (default: results/ beside this file)
#   NATIVE_ICD=FILE    manifest of the machine's Vulkan driver (default: NVIDIA's, wherever it is)
#   WORK=DIR           where the kit is unpacked, and stays (default: a temporary directory)
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$here/results}
work=${WORK:-$(mktemp -d)}
[ -n "${WORK:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work"
kit=$work/vm-kit
for pack in "$here"/*.tar.xz; do
    [ ! -e "$work/${pack##*/}.done" ] || continue
    tar -C "$work" -xJf "$pack" || exit 1
    touch "$work/${pack##*/}.done"
done
# shellcheck source=bench/gpu-kit/native.sh
. "$kit/bench/gpu-kit/native.sh"

export PATH="$kit/path:$PATH" PVGPU_BUILD=$kit/build PYTHONUNBUFFERED=1 XDG_CACHE_HOME=$work/cache
python3 "$kit/bench/vm-kit/measure.py" --native-icd "${NATIVE_ICD:-$(find_native "$work")}" --output "$out" "$@"
