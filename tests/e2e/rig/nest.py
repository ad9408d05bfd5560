# SPDX-License-Identifier: MIT
"""Commands of this host in a guest: in a User-Mode-Linux guest of ours, which gives them the DRM device that this host may lack."""

import os
import shlex

from . import session

RENDER_NODE = "/dev/dri/renderD128"
# The host's root file system, where the checkout and the cache are found, with the guest's own devices. The checkout is there
# again for one that lies in /tmp; the directory shared with the host is /mnt.
ENTER = """set -e
root=/tmp/root
mkdir $root
mount -t hostfs -o hostfs=/ host $root
for dir in dev run proc sys; do mount --bind /$dir $root/$dir; done
mount -t tmpfs tmp $root/tmp
mkdir -p $root{top}
mount -t hostfs -o hostfs={top} host $root{top}
mount --bind /host $root/mnt
exec chroot $root env -C {top} XDG_RUNTIME_DIR=/run/user WAYLAND_DISPLAY=wayland-0 GDK_BACKEND=wayland {environment} {command}
"""


def start(machine, command, limit_s):
    """Starts a command in the directory of the checkout; once in a machine's life. A Job. Windows come up on the guest's weston."""
    kept = {name: value for name, value in os.environ.items()
            if name.startswith("PVGPU_") or name in ("PATH", "HOME", "LSAN_OPTIONS")}
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in kept.items())
    return machine.start(ENTER.format(top=session.TOP, environment=environment, command=shlex.join(command)), limit_s)
