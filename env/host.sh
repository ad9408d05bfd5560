# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # env_dir, pv_cache and top are set by ./run and common.sh
# The environment on a Debian 13 (or newer) host: its own packages.

host_debian_major() {
    local id='' version='' codename=''
    [ -r /etc/os-release ] || return 1
    # shellcheck disable=SC1091
    {
        id=$(. /etc/os-release && printf '%s' "${ID:-}")
        version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
        codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    }
    [ "$id" = debian ] || return 1
    # testing and unstable carry no number
    case $version:$codename in
    [0-9]*:*) printf '%s\n' "${version%%.*}" ;;
    *:trixie) printf '13\n' ;;
    *) printf '14\n' ;;
    esac
}

host_missing_packages() {
    local name
    while read -r name; do
        case $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) in
        [ih]i*) ;;
        *) printf '%s\n' "$name" ;;
        esac
    done < <(package_list "$env_dir/dev.packages")
}

# version_at_least PACKAGE FIELD VERSION; FIELD is Installed or Candidate
version_at_least() {
    local have
    have=$(LC_ALL=C apt-cache policy "$1" 2>/dev/null | awk -v f="$2:" '$1 == f { print $2; exit }')
    [ -n "$have" ] && [ "$have" != '(none)' ] && dpkg --compare-versions "$have" ge "$3"
}

host_good() {
    [ -z "$(host_missing_packages)" ] && version_at_least qemu-system-x86 Installed 1:11.1 &&
        version_at_least mesa-vulkan-drivers Installed 26 && version_at_least libvulkan-dev Installed 1.4.343
}

host_make() {
    local packages log=$pv_cache/logs/apt.log mirror
    host_good && return
    progress "apt-get update" "$log" apt-get -q update || die "apt-get update failed" "repair the apt sources of this host first"
    if ! version_at_least qemu-system-x86 Candidate 1:11.1 || ! version_at_least mesa-vulkan-drivers Candidate 26 ||
        ! version_at_least libvulkan-dev Candidate 1.4.343; then
        mirror=$(debian_mirror) || exit 1
        say "QEMU 11.1, Mesa 26 and Vulkan 1.4.343 are needed. Adding trixie-backports, and sid for Vulkan's loader and headers:"
        say "    /etc/apt/sources.list.d/pvgpu-backports.sources"
        say "    /etc/apt/preferences.d/pvgpu.pref"
        # The preferences first: without them sid would be all of this host's future. See root.sh about its validity.
        cp "$env_dir/backports.pref" /etc/apt/preferences.d/pvgpu.pref
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n%s\n' \
            "$mirror" trixie-backports /usr/share/keyrings/debian-archive-keyring.gpg '' \
            "$mirror" sid /usr/share/keyrings/debian-archive-keyring.gpg 'Check-Valid-Until: no' \
            >/etc/apt/sources.list.d/pvgpu-backports.sources
        progress "apt-get update" "$log" apt-get -q update || die "apt-get update failed with trixie-backports and sid" \
            "remove /etc/apt/sources.list.d/pvgpu-backports.sources to undo"
    fi
    mapfile -t packages < <(package_list "$env_dir/dev.packages")
    say "installing ${#packages[@]} packages on this host; log: $log"
    progress "apt-get install" "$log" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 "${packages[@]}" || die "the packages could not be installed" "see $log"
    # Best effort: releases after 13 have no Mesa 25.0, and tests that want it say that they were skipped.
    if ! [ -e /opt/pvgpu/mesa-25.0/libGLX_mesa.so.0 ]; then
        "$env_dir/old-mesa.sh" / >>"$log" 2>&1 || say "there is no Mesa 25.0 here; see $log"
    fi
    host_good || die "the packages are installed, but not in the versions needed (QEMU 11.1, Mesa 26, Vulkan 1.4.343)" \
        "see: apt-cache policy qemu-system-x86 mesa-vulkan-drivers libvulkan-dev"
}

host_ensure() {
    host_good && return
    [ "$(id -u)" = 0 ] || die "packages have to be installed on this host: $(host_missing_packages | paste -sd' ')" \
        "run this once as root: sudo ./run build"
    with_lock host-packages host_make
}
