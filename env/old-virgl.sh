#!/bin/bash
# SPDX-License-Identifier: MIT
# Prints the prefix of Debian 12's virglrenderer, 0.10.4, the oldest that is to work, which it unpacks under the cache
# directory first: 1 MB, after Debian 12's list of packages. Runs in the environment, whose libraries it is linked with.
set -euo pipefail

env_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=env/common.sh
. "$env_dir/common.sh"

directory=$pv_cache/old-virgl/$(hash_of "$env_dir/old-virgl.sh")

work=
cleanup() { [ -z "$work" ] || rm -rf --one-file-system "$work"; }
trap cleanup EXIT

# With lists of its own: the environment's are not of this release.
apt() {
    apt-get -q -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Dir::Etc::sourcelist="$work/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$work/lists" \
        -o Dir::Cache="$work/cache" "$@"
}

fetch() {
    local mirror
    mirror=$(debian_mirror)
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' "$mirror" >"$work/sources.list"
    apt update && cd "$work/debs" && apt download 'libvirglrenderer1=0.10.4*' 'libvirglrenderer-dev=0.10.4*'
}

unpack() {
    [ ! -e "$directory" ] || return 0
    mkdir -p "$pv_cache/old-virgl" "$pv_cache/logs"
    rm -rf --one-file-system "$pv_cache"/old-virgl/*
    work=$pv_cache/old-virgl/tmp.$$
    mkdir -p "$work/debs" "$work/tree" "$work/lists/partial" "$work/cache/archives/partial"
    say "unpacking virglrenderer 0.10.4 in $directory, once"
    (fetch) >"$pv_cache/logs/old-virgl.log" 2>&1 ||
        die "virglrenderer 0.10.4 could not be had" "is the network there? see $pv_cache/logs/old-virgl.log, then try again"
    local deb
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$work/tree"
    done
    sed -i "s#^prefix=.*#prefix=$directory#" "$work"/tree/usr/lib/*/pkgconfig/virglrenderer.pc
    mv -T "$work/tree/usr" "$directory"
}

[ -e "$directory" ] || with_lock old-virgl unpack
printf '%s\n' "$directory"
