# SPDX-License-Identifier: MIT
"""Our part of a command's round trip, from doorbell to interrupt, without a guest: ./run bench trip [--rounds N] [--count N] [--markdown]

A driver in Python rings the doorbell and sleeps until the interrupt comes, as a virtual machine does, with no VMM, no
guest and no emulated processor between: what is left is ours, and that driver's own share, which all rows have alike.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "tests/wire"), str(TOP / "tests/e2e")]
from conftest import Lab  # noqa: E402 (the wire tests')
from rig import figures  # noqa: E402
from wirelib import gpu, vfio_user  # noqa: E402
from wirelib.machine import DRIVER, MIB  # noqa: E402

VENUS, CONTEXT, BLOB = 4, 1, 2
WINDOW = 64 * MIB
FEATURES_3D = gpu.F_VIRGL | gpu.F_CONTEXT_INIT


def blob_cycle(machine):
    machine.must(gpu.create_host_blob(CONTEXT, BLOB, MIB))
    machine.must(gpu.map_blob(BLOB, 0))
    machine.must(gpu.unmap_blob(BLOB))
    machine.must(gpu.unref(BLOB))


COMMANDS = [
    ("a fenced 2D command", lambda machine: machine.must(gpu.get_display_info(fence=1))),
    ("an empty 3D submit and its fence", lambda machine: machine.must(gpu.submit_3d(CONTEXT, fence=1))),
    # Of a queue's timeline.
    ("the same with a fence that the renderer signals", lambda machine: machine.must(gpu.submit_3d(CONTEXT, fence=1, ring_idx=1))),
    ("a blob of 1 MiB: create, map, unmap, destroy: 4 commands", blob_cycle),
]


def machines(lab):
    """{title: machine}"""
    for kind, start in (("vfio-user", lab.new_vfio_machine), ("vhost-user", lab.new_machine)):
        features = (vfio_user.FEATURES if kind == "vfio-user" else DRIVER) | FEATURES_3D
        for where, arguments in (("", ()), (", one process", ("--renderer-in-process",))):
            machine = start("--renderer=2d,venus", f"--window={WINDOW // MIB}M", *arguments, features=features)
            machine.realize().start()
            machine.must(gpu.ctx_create(CONTEXT, VENUS, b"bench"))
            yield kind + where, machine


def measure(options):
    """{(row, column): medians of rounds in us}"""
    samples = {}
    with tempfile.TemporaryDirectory(prefix="pvgpu-trip-", dir="/tmp") as directory:
        lab = Lab(pathlib.Path(directory))
        try:
            rows = dict(machines(lab))
            for _ in range(options.rounds):
                for column, command in COMMANDS:
                    for title, machine in rows.items():
                        trips = []
                        for _ in range(options.count):
                            began = time.perf_counter_ns()
                            command(machine)
                            trips.append((time.perf_counter_ns() - began) / 1000)
                        samples.setdefault((title, column), []).append(statistics.median(trips))
        finally:
            lab.abandon()
    return rows, samples


def main():
    parser = argparse.ArgumentParser(prog="./run bench trip", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often all is measured in turn (default 5)")
    parser.add_argument("--count", type=int, default=1000, help="commands of a kind in a round (default 1000)")
    parser.add_argument("--markdown", type=pathlib.Path, nargs="?", const=TOP / "docs/benchmarks/trip.md", help="write the table there, too "
                        "(docs/benchmarks/trip.md)")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows, samples = measure(options)
    header = ["us, median of rounds [lowest to highest]", *rows]
    body = [[column, *(figures.spread(figures.summary(samples[title, column])) for title in rows)] for column, _ in COMMANDS]
    host = figures.host()
    machine = (f"{host['cpus']} x {host['cpu']}, Linux {host['kernel']}, {figures.first_line(str(TOP / 'build/pvgpu'), '--version')}, "
               f"{time.strftime('%Y-%m-%d')}; load of the machine before it began: {load:.1f}")
    print(figures.table(header, body), machine, sep="\n\n")
    if options.markdown:
        options.markdown.write_text(f"""# A command's round trip

Written by `./run bench trip --rounds {options.rounds} --count {options.count} --markdown`.

{machine}

{figures.markdown_table(header, body)}

From the doorbell to the interrupt, with a driver in Python and neither guest nor VMM: our own part of the figures in
[BENCHMARKS.md](../BENCHMARKS.md), and what it costs that GPU drivers are loaded into a process of their own. Over vfio-user a doorbell is a
message that the VMM waits for; the thread that answers it wakes the device's thread, which is one change of threads more than over vhost-user, where
a doorbell is an event that the device's thread waits for itself. 2D stays in the device's process in either case.
""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
