#!/bin/bash
# SPDX-License-Identifier: MIT
# Prints the directory of piglit, Debian's OpenGL tests, which it unpacks under the cache directory first: 300 MB, without
# the 1.8 GB for OpenGL 4.2. Runs in the environment, whose Mesa the tests use.
set -euo pipefail

env_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=env/common.sh
. "$env_dir/common.sh"

directory=$pv_cache/piglit/$(hash_of "$env_dir/piglit.sh")
# With what it wants and the environment has not.
packages=(piglit libxcb-dri2-0)

work=
cleanup() { [ -z "$work" ] || rm -rf --one-file-system "$work"; }
trap cleanup EXIT

# Of a mirror that has moved on since the environment was made, the second try.
download() {
    apt-get -q -o APT::Sandbox::User=root download "$@" || { apt-get -q update && apt-get -q -o APT::Sandbox::User=root download "$@"; }
}

unpack() {
    [ ! -e "$directory" ] || return 0
    mkdir -p "$pv_cache/piglit" "$pv_cache/logs"
    rm -rf --one-file-system "$pv_cache"/piglit/*
    work=$pv_cache/piglit/tmp.$$
    mkdir -p "$work/debs" "$work/tree"
    say "unpacking piglit in $directory, once"
    (cd "$work/debs" && download "${packages[@]}") >"$pv_cache/logs/piglit.log" 2>&1 ||
        die "piglit could not be had" "is the network there? see $pv_cache/logs/piglit.log, then try again"
    local deb
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/tree" --exclude='*/arb_vertex_attrib_64bit/*' --exclude='*/glsl-4.20/*' \
            --exclude='*/cl/*' --exclude='./usr/share/*' ./usr/lib
    done
    mv -T "$work/tree/usr/lib/$(basename "$(dirname "$work"/tree/usr/lib/*/piglit)")" "$directory"
}

[ -e "$directory" ] || with_lock piglit unpack
printf '%s\n' "$directory"
