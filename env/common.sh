# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Shared by ./run and the scripts beside this file: messages, progress, the cache directory, the Debian mirror.

if [ -z "${HOME:-}" ]; then HOME=$(getent passwd "$(id -u)" | cut -d: -f6); fi
export HOME
pv_cache=${PVGPU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pvgpu}

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [NEXT STEP]...
die() {
    say "error: $1"
    shift
    local line
    for line; do say "       $line"; done
    exit 1
}

# progress LABEL LOG CMD... runs CMD with its output in LOG and shows elapsed seconds and the last line of the log: one
# updating line on a terminal, else one line every 15 s. CMD dies with this shell, with all it started.
progress() {
    local label=$1 log=$2 start=$SECONDS next=0 last pid rc=0 tick=0.5
    shift 2
    mkdir -p "${log%/*}"
    : >"$log"
    setpriv --pdeathsig KILL "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    # shellcheck disable=SC2064
    trap "kill $pid 2>/dev/null; exit 130" INT TERM
    [ -t 2 ] || tick=0.2
    while kill -0 "$pid" 2>/dev/null; do
        sleep "$tick"
        last=$(tail -c 400 "$log" | tr '\r' '\n' | sed -e 's/[^[:print:]]//g' -e '/^ *$/d' | tail -n 1 || true)
        if [ -t 2 ]; then
            printf '\r\033[K[%4d s] %s: %.60s' $((SECONDS - start)) "$label" "$last" >&2
        elif [ $((SECONDS - start)) -ge "$next" ]; then
            printf '[%4d s] %s: %.90s\n' $((SECONDS - start)) "$label" "${last:-starting}" >&2
            next=$((SECONDS - start + 15))
        fi
    done
    wait "$pid" || rc=$?
    trap - INT TERM
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if [ "$rc" = 0 ]; then
        say "[$(printf '%4d' $((SECONDS - start))) s] $label: done"
    else
        say "[$(printf '%4d' $((SECONDS - start))) s] $label: FAILED (exit $rc); the end of $log:"
        tail -n 25 "$log" >&2
    fi
    return "$rc"
}

# The Debian mirror this host uses. Nothing is assumed: it comes from the apt configuration or from PVGPU_MIRROR.
debian_mirror() {
    local uri
    if [ -n "${PVGPU_MIRROR:-}" ]; then
        printf '%s\n' "${PVGPU_MIRROR%/}"
        return
    fi
    command -v apt-get >/dev/null || die "this host has no apt, so no Debian mirror is known" \
        "set PVGPU_MIRROR to the address of a Debian mirror"
    # Origin and Label are read from downloaded Release files, so they are blank before the first apt-get update.
    uri=$(apt_main_uri)
    if [ -z "$uri" ] && [ "$(id -u)" = 0 ]; then
        apt-get -q update >/dev/null 2>&1 || true
        uri=$(apt_main_uri)
    fi
    # Debian's cloud images name a file that lists mirrors.
    case $uri in
    mirror+file:*)
        uri=${uri#mirror+file:}
        uri=$(sed -e 's/#.*//' -e 's/[[:space:]].*//' -e '/^$/d' "/${uri##/}" | head -n 1)
        ;;
    esac
    case $uri in
    http://* | https://*) printf '%s\n' "${uri%/}" ;;
    *) die "the apt configuration of this host names no Debian mirror" \
        "set PVGPU_MIRROR to the address of a Debian mirror, as in: PVGPU_MIRROR=http://MIRROR/debian ./run ..." ;;
    esac
}

apt_main_uri() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(TARGET_OF)|$(REPO_URI)' 'Created-By: Packages' \
        2>/dev/null | awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && $4 == "deb" { print $5; exit }'
}

# apt's proxy settings and retries, for mmdebstrap, which does not read the host's
apt_options() {
    local key value
    for key in Acquire::http::Proxy Acquire::https::Proxy Acquire::ForceIPv4; do
        value=$(apt-config dump --format '%v%n' "$key" 2>/dev/null | head -n 1)
        [ -z "$value" ] || printf -- '--aptopt=%s "%s"\n' "$key" "$value"
    done
    printf -- '--aptopt=%s\n' 'Acquire::Retries "3"' 'Acquire::Languages "none"' 'Apt::Install-Recommends "false"'
}

# package_list FILE prints the names, one per line
package_list() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$1"; }

# hash_of FILE... prints a short key for their contents
hash_of() { cat -- "$@" | sha256sum | cut -c 1-12; }

# with_lock NAME CMD... lets one process at a time run CMD; the others wait for it
with_lock() {
    local name=$1 fd
    shift
    mkdir -p "$pv_cache/locks"
    exec {fd}>"$pv_cache/locks/$name"
    if ! flock --nonblock "$fd"; then
        say "waiting for another ./run that is making $name"
        flock "$fd"
    fi
    "$@" {fd}>&-
    exec {fd}>&-
}
