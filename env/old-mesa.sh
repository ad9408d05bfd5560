#!/bin/bash
# SPDX-License-Identifier: MIT
# old-mesa.sh ROOT unpacks the venus driver of trixie's own Mesa, 25.0, and its OpenGL beside the newer ones that are installed,
# for the tests to use: ROOT/opt/pvgpu/mesa-25.0 is for LD_LIBRARY_PATH, virtio_icd.json in it. Also a hook of mmdebstrap.
set -euo pipefail

root=${1%/}
to=/opt/pvgpu/mesa-25.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

cd "$work"
[ -z "${MMDEBSTRAP_APT_CONFIG:-}" ] || export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
for package in mesa-vulkan-drivers mesa-libgallium libglx-mesa0 libegl-mesa0 libgbm1; do
    apt-get -q -o APT::Sandbox::User=root download "$package=25.0.*"
    dpkg-deb --extract "$package"_25.0*.deb .
done

# Renamed into place, so that what is there is whole.
rm -rf "$root$to.new"
mkdir -p "$root$to.new"
cp -a usr/lib/*/{libvulkan_virtio,libgallium,libGLX_mesa,libEGL_mesa,libgbm}*.so* usr/lib/*/gbm/dri_gbm.so "$root$to.new/"
sed -e "s#\"libvulkan_virtio.so\"#\"$to/libvulkan_virtio.so\"#" usr/share/vulkan/icd.d/virtio_icd*.json >"$root$to.new/virtio_icd.json"
grep -q "$to" "$root$to.new/virtio_icd.json"
rm -rf "$root$to"
mv -T "$root$to.new" "$root$to"
