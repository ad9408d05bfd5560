#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs what ./run bench gpu-kit has packed, on this machine's GPU: bash run.sh [ARGUMENTS of bench venus]
#   OUT=DIR            where results go (default: results/ beside this file)
#   NATIVE_ICD=FILE    manifest of the machine's Vulkan driver (default: NVIDIA's, wherever it is)
#   STEPS="..."        of: info bench tests vkmark (default: all)
set -u

kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$kit/results}
steps=${STEPS:-info bench tests vkmark}
work=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
mkdir -p "$out"
chmod -R u+x "$kit/bin"
libraries=$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# shellcheck source=bench/gpu-kit/native.sh
. "$kit/bench/gpu-kit/native.sh"
native=${NATIVE_ICD:-$(find_native "$work")}
guest=$work/virtio_icd.json
printf '{"file_format_version":"1.0.1","ICD":{"library_path":"%s","api_version":"1.4.0"}}\n' "$kit/lib/libvulkan_virtio.so" >"$guest"
export RENDER_SERVER_EXEC_PATH=$kit/bin/virgl_render_server
# Caches on disk would answer for the compiler.
export __GL_SHADER_DISK_CACHE=0 MESA_SHADER_CACHE_DISABLE=true

on_native() { env LD_LIBRARY_PATH="$libraries" VK_DRIVER_FILES="$native" "$@"; }
through_ours() {
    env LD_LIBRARY_PATH="$libraries" VK_DRIVER_FILES="$guest" VN_DEBUG=vtest VTEST_SOCKET_NAME="$work/ours.sock" "$@"
}

start_server() {
    [ -z "$server" ] || ! kill -0 "$server" 2>/dev/null || return 0
    rm -f "$work/ours.sock"
    # No function: the process itself is what is killed in the end.
    env LD_LIBRARY_PATH="$libraries" VK_DRIVER_FILES="$native" "$kit/bin/pvgpu" vtest --socket-path="$work/ours.sock" \
        >>"$out/server.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        [ ! -S "$work/ours.sock" ] || return 0
        sleep 0.1
    done
    echo "pvgpu vtest does not start: see server.log"
    return 1
}

step() { [[ " $steps " == *" $1 "* ]]; }

if step info; then
    {
        uname -a
        nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>&1
        on_native "$kit/bin/pvgpu" --version
        on_native timeout 60 "$kit/bin/pvgpu" devices
        on_native timeout 60 "$kit/bin/vulkaninfo" --summary
        if start_server; then through_ours timeout 60 "$kit/bin/vulkaninfo" --summary; fi
    } >"$out/info.txt" 2>&1
    tail -n 40 "$out/info.txt"
fi

if step tests; then
    {
        # What a lost device leaves running on a GPU without a watchdog, later work waits for.
        mapfile -t cases < <(on_native "$kit/bin/vk-tests" --list | grep -v device_lost)
        on_native timeout 250 "$kit/bin/vk-tests" "${cases[@]}" >"$work/native.txt" 2>&1 || echo "== natively: exit code $?"
        if start_server; then through_ours timeout 250 "$kit/bin/vk-tests" "${cases[@]}" >"$work/ours.txt" 2>&1 || echo "== through ours: exit code $?"; fi
        python3 "$kit/bench/gpu-kit/compare.py" "$work/native.txt" "$work/ours.txt"
        tail -n 3 "$work/native.txt" "$work/ours.txt"
    } >"$out/tests.txt" 2>&1
    grep -E '^(==|worse|other)' "$out/tests.txt"
fi

if step vkmark; then
    {
        for side in on_native through_ours; do
            [ "$side" = on_native ] || start_server || continue
            echo "== $side"
            # NVIDIA's has none; Mesa's guest driver brings its own.
            if ! "$side" timeout 60 "$kit/bin/vulkaninfo" 2>/dev/null | grep -q VK_EXT_headless_surface; then
                echo "left out: the driver has no VK_EXT_headless_surface"
                continue
            fi
            "$side" timeout 150 "$kit/bin/vkmark" --winsys headless --winsys-dir "$kit/lib/vkmark" --data-dir "$kit/share/vkmark" \
                -b :duration=2 -b vertex -b texture -b shading -b cube -b desktop -b effect2d -b clear || echo "exit code $?"
        done
    } >"$out/vkmark.txt" 2>&1
    grep -E '^==|FPS|Score|exit|left out' "$out/vkmark.txt"
fi

if step bench; then
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null
    server=
    python3 "$kit/bench/venus.py" --probe "$kit/bin/pvgpu-vkprobe" --pvgpu "$kit/bin/pvgpu" --decoder "$kit/bin/bench-venus-decode" --peer "$kit/bin/virgl_test_server" \
        --peer-version "$(cat "$kit/virgl-server.version")" --libraries "$libraries" --native-icd "$native" --guest-icd "$guest" \
        --output "$out/venus.json" --markdown "$out/venus.md" "$@" 2>&1 | tee "$out/bench.txt"
fi
