# SPDX-License-Identifier: MIT
"""Runs in a guest that has a DRM device and weston (nest.py): there it has a guest in QEMU's window. See test_dma_buf.py.

nested.py SHARE: says on its standard output what the window should show, and goes on when the file SHARE/seen-N is there.
"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "guest"))
import vm  # noqa: E402 (the guest's own module)

RENDER_NODE = "/dev/dri/renderD128"


def main(share):
    numbers = iter(range(1, 100))

    def say(what):
        print(what, flush=True)
        seen = share / f"seen-{next(numbers)}"
        while not seen.exists():
            time.sleep(0.2)

    os.environ.pop("DISPLAY", None)
    with vm.Device(arguments=["--virgl", f"--render-node={RENDER_NODE}", "--dma-buf"]) as device:
        try:
            with vm.Machine(gpu=device.qemu_arguments(), display="gtk,gl=on", memory_mib=768, cpus=1, boot_timeout=400) as guest:
                for _ in range(2):
                    guest.start_x(timeout=600)
                    guest.check("xsetroot -solid '#336699'", 120)
                    gears = guest.start("glxgears -geometry 300x300+0+0", 600)
                    say("X")
                    guest.run("pkill glxgears", 60)
                    gears.wait(60)
                    guest.stop_x()
                    say("console")
        finally:
            print(device.log.read_text(), file=sys.stderr)


main(pathlib.Path(sys.argv[1]))
