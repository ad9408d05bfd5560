# SPDX-License-Identifier: MIT
"""The same thing very often: nothing grows."""

import os

from wirelib import gpu, vhost_user as vu
from wirelib.machine import MIB
from wirelib.memory import Region

SANITIZED_RSS = 64 * MIB  # what a sanitizer may keep back of freed memory
ROUNDS = int(os.environ.get("PVGPU_SOAK_ROUNDS", "20000"))


def batches(machine, total, make, per_round=20):
    """Runs total commands of make(n), many in flight."""
    for start in range(0, total, per_round):
        requests = [request for n in range(start, start + per_round) for request in
                    (machine.submit(command, kick=False) for command in make(n))]
        machine.control.kick()
        for request in requests:
            yield gpu.Response(machine.control.wait(request).data)


def grown(machine, work):
    """How much memory and how many fds a second helping of the same work adds."""
    work()
    before = machine.process.rss_bytes(), machine.process.fd_count()
    work()
    return machine.process.rss_bytes() - before[0], machine.process.fd_count() - before[1]


def check_growth(machine, work, memory_bytes=2 * MIB):
    sanitized = "libasan" in open(f"/proc/{machine.process.pid}/maps", encoding="ascii", errors="replace").read() \
        or "asan" in os.environ.get("PVGPU", "") + os.environ.get("PVGPU_BUILD", "")
    memory, fds = grown(machine, work)
    assert fds == 0, machine.process.fd_names()
    assert memory < (SANITIZED_RSS if sanitized else memory_bytes), f"{memory / MIB:.1f} MiB more"


def test_create_and_destroy(lab):
    machine = lab.machine()
    page = machine.memory.alloc(4096)

    def work():
        for response in batches(machine, ROUNDS // 2, lambda n: (
                gpu.create_2d(1, 16, 16), gpu.attach_backing(1, [(page, 1024)]), gpu.unref(1)), per_round=10):
            assert response.ok
    check_growth(machine, work)


def test_malformed_commands(hostile):
    machine = hostile.machine()

    def work():
        for response in batches(machine, 2000, lambda n: (
                gpu.create_2d(0, 16, 16), gpu.attach_backing(9, [(0, 4096)] * 8, count=n), gpu.unref(7),
                gpu.create_blob(0, 4096, [(4096, 4096)], count=n & 3), gpu.command(0x999)), per_round=5):
            assert not response.ok
    check_growth(machine, work)


def test_scanouts_and_cursors(lab):
    machine = lab.console_machine()

    def work():
        for n in range(100):
            resource, spans = machine.picture(64, 64)
            machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
            machine.must(gpu.flush(resource, (0, 0, 64, 64)))
            machine.move(gpu.update_cursor(0, n, n, resource))
            machine.must(gpu.unref(resource))
            for addr, length in spans:
                machine.memory.free(addr, length)
        machine.must(gpu.set_scanout(0, 0, (0, 0, 0, 0)))
    check_growth(machine, work)


def test_front_ends_come_and_go(lab):
    server = lab.server()
    server.count_idle_fds()

    def work():
        for _ in range(30):
            with server.machine() as machine:
                machine.realize().start().is_healthy()

    work()
    before = server.process.rss_bytes()
    work()
    server.check_fds()
    assert server.process.rss_bytes() - before < SANITIZED_RSS
    threads = server.process.threads()
    work()
    server.settle()
    assert server.process.threads() <= threads


def test_memory_regions_come_and_go(lab):
    machine = lab.machine()
    region = Region(1 << 40, 16 * MIB)
    machine.memory.regions.append(region)

    def work():
        for _ in range(300):
            machine.add_region(region)
            machine.remove_region(region)
    check_growth(machine, work)
    assert len([line for line in open(f"/proc/{machine.process.pid}/maps", encoding="ascii", errors="replace")
                if "guest-ram" in line]) <= 3
    assert machine.front_end.ask_u64(vu.GET_FEATURES)
