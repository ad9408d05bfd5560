# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # env_dir, pv_cache and top are set by ./run and common.sh
# Root directories made by mmdebstrap under the cache directory, and running commands in them.
#
# A root is named by the hash of what defines it. It is made under a temporary name and renamed when it is whole and has
# proved that its programs run, so a root that exists under its final name was good once; it is probed at each use all
# the same and made again if it fails. Whoever runs in a root holds a shared lock on it; only unlocked ones are removed.

declare -A root_suite=([dev]=trixie [qemu72]=bookworm [llama]=sid [uml]=trixie)
declare -A root_probe=(
    [dev]='cc --version && clang --version && ninja --version && python3 -c "import mesonbuild, pytest" && qemu-system-x86_64 --version && [ -e /opt/pvgpu/mesa-25.0/libGLX_mesa.so.0 ]'
    [qemu72]='qemu-system-x86_64 --version'
    [llama]='llama-cli --version && ls /usr/libexec/*/ggml/test-backend-ops'
    [uml]='cc --version && ls /usr/src/linux-source-*.tar.xz'
)

root_dir() { printf '%s/roots/%s-%s\n' "${pv_cache:?}" "$1" \
    "$(package_list "$env_dir/$1.packages" | hash_of - "$env_dir/backports.pref" "$env_dir/old-mesa.sh")"; }

root_good() {
    local dir
    dir=$(root_dir "$1")
    [ -e "$dir/.pvgpu-root" ] &&
        LC_ALL=C chroot "$dir" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/sh -c "${root_probe[$1]}" >/dev/null 2>&1
}

# Called under the lock "root-NAME".
root_make() {
    local name=$1 dir tmp old log mirror suite=${root_suite[$1]} args=() lines
    dir=$(root_dir "$name")
    log=$pv_cache/logs/root-$name.log
    root_good "$name" && return
    if [ -e "$dir" ]; then
        say "the root $dir does not work: making it again"
        # A broken root in use cannot be helped by waiting: move it out of the way.
        mv -T "$dir" "$dir.tmp.$$"
    fi
    for old in "$pv_cache/roots/$name"-*; do
        [ ! -d "$old" ] || root_remove_unused "$old"
    done
    mirror=$(debian_mirror) || exit 1
    tmp=$dir.tmp.$$.new
    mkdir -p "${dir%/*}"
    mapfile -t lines < <(apt_options)
    args+=("${lines[@]}")
    case $suite in
    trixie)
        args+=("--setup-hook=mkdir -p \"\$1/etc/apt/preferences.d\" && cp '$env_dir/backports.pref' \"\$1/etc/apt/preferences.d/pvgpu.pref\"")
        [ "$name" != dev ] || args+=("--customize-hook='$env_dir/old-mesa.sh' \"\$1\"")
        # A mirror's copy of sid may be older than its Release file allows; it is wanted for one package.
        lines=("deb $mirror trixie main" "deb $mirror trixie-backports main" "deb [check-valid-until=no] $mirror sid main")
        ;;
    sid) lines=("deb [check-valid-until=no] $mirror sid main") ;;
    *) lines=("deb $mirror $suite main") ;;
    esac
    say "making the $name root (Debian $suite) in $dir, once; log: $log"
    # In a process id namespace of its own: killing the outermost process leaves nothing behind.
    progress "$name root" "$log" unshare --mount --pid --fork --kill-child --mount-proc \
        mmdebstrap --mode=root --variant=apt --components=main --skip=check/empty --verbose "${args[@]}" \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include="$(package_list "$env_dir/$name.packages" | paste -sd,)" "$suite" "$tmp" "${lines[@]}" ||
        die "the $name root could not be made" "is the network there? is there space in $pv_cache? see $log, then try again"
    date -u +%FT%TZ >"$tmp/.pvgpu-root"
    mv -T "$tmp" "$dir"
    root_good "$name" || die "the new $name root does not work" "try: chroot $dir sh -c '${root_probe[$name]}'"
}

# Removes a root of an older package list, or what a killed run left, unless somebody is in it.
root_remove_unused() {
    local old=$1 name fd
    # One moved out of the way keeps the lock of its former name.
    name=${old##*/}
    mkdir -p "$pv_cache/locks"
    exec {fd}>"$pv_cache/locks/in-${name%%.tmp.*}"
    if flock --nonblock --exclusive "$fd"; then
        say "removing the unused root $old"
        rm -rf --one-file-system "$old"
    fi
    exec {fd}>&-
}

root_ensure() {
    root_good "$1" && return
    [ "$(id -u)" = 0 ] || die "the $1 root has to be made, which needs root" "run this as root, as in: sudo ./run ..."
    local tool
    for tool in mmdebstrap:mmdebstrap unshare:util-linux setpriv:util-linux flock:util-linux; do
        command -v "${tool%:*}" >/dev/null || host_install_tools mmdebstrap debian-archive-keyring util-linux
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || host_install_tools debian-archive-keyring
    with_lock "root-$1" root_make "$1"
}

host_install_tools() {
    command -v apt-get >/dev/null || die "these programs are missing: $*" "install them with the package manager of this host"
    say "installing on this host: $*"
    progress "apt-get update" "$pv_cache/logs/apt.log" apt-get -q update || true
    progress "apt-get install" "$pv_cache/logs/apt.log" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" || die "apt-get install $* failed" "see above"
}

# root_exec NAME CMD... replaces this process. The checkout, the current directory, HOME, the cache, /tmp and the kernel's
# file systems are at their own paths; environment variables pass, but for those that would lead back into the host's files.
root_exec() {
    local name=$1 dir fd mirror
    shift
    [ "$(id -u)" = 0 ] || die "entering the $name root needs root" "run this as root, as in: sudo ./run ..."
    dir=$(root_dir "$name")
    mkdir -p "$pv_cache/locks"
    exec {fd}>"$pv_cache/locks/in-${dir##*/}"
    flock --shared "$fd"
    export LANG=C.UTF-8 LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    unset LD_LIBRARY_PATH LD_PRELOAD PYTHONHOME
    # For the guest image and further roots: apt in there knows only what was true when the root was made.
    if [ -z "${PVGPU_MIRROR:-}" ] && mirror=$(debian_mirror 2>/dev/null); then export PVGPU_MIRROR=$mirror; fi
    # shellcheck disable=SC2016
    exec unshare --mount --propagation private /bin/bash -c '
        set -e
        root=$1 cwd=$2
        shift 2
        # A mount point, so that programs in the root can unshare their mounts in turn.
        mount --bind "$root" "$root"
        for path in /proc /sys /dev; do mount --rbind "$path" "$root$path"; done
        for file in /etc/resolv.conf /etc/hosts; do
            [ -e "$file" ] || continue
            [ -e "$root$file" ] || { rm -f "$root$file"; : >"$root$file"; }
            mount --bind "$(readlink -f "$file")" "$root$file"
        done
        while [ "$1" != -- ]; do
            case $1 in
            / | /usr | /usr/* | /etc | /etc/* | /bin | /lib* | /sbin | /proc* | /sys* | /dev*) ;;
            *) if [ -d "$1" ]; then mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; fi ;;
            esac
            shift
        done
        shift
        exec chroot "$root" /bin/sh -c "cd \"\$0\" && exec \"\$@\"" "$cwd" "$@"
    ' run-in-root "$dir" "$PWD" /tmp "${HOME:-/root}" "$pv_cache" "$top" "$PWD" -- "$@"
}
