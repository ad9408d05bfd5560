#!/bin/bash
# SPDX-License-Identifier: MIT
# old-mesa.sh ROOT unpacks the venus driver of trixie's own Mesa, 25.0, beside the newer one that is installed, for the
# tests to use: ROOT/opt/pvgpu/mesa-25.0/virtio_icd.json. Its libraries are those of the newer one. Also a hook of mmdebstrap.
set -euo pipefail

root=${1%/}
to=/opt/pvgpu/mesa-25.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

cd "$work"
[ -z "${MMDEBSTRAP_APT_CONFIG:-}" ] || export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
apt-get -q -o APT::Sandbox::User=root download 'mesa-vulkan-drivers=25.0.*'
dpkg-deb --extract mesa-vulkan-drivers_25.0*.deb .

# Renamed into place, so that what is there is whole.
library=$(echo usr/lib/*/libvulkan_virtio.so)
mkdir -p "$root$to.new" "$root${to%/*}"
cp "$library" "$root$to.new/"
sed -e "s#\"libvulkan_virtio.so\"#\"$to/libvulkan_virtio.so\"#" usr/share/vulkan/icd.d/virtio_icd*.json >"$root$to.new/virtio_icd.json"
grep -q "$to" "$root$to.new/virtio_icd.json"
rm -rf "$root$to"
mv -T "$root$to.new" "$root$to"
