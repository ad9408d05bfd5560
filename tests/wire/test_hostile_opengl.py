# SPDX-License-Identifier: MIT
"""A hostile driver, part four: what it can take of the host's memory with textures and buffers for OpenGL."""

import json
import os
import pathlib
import signal
import struct

import pytest

from test_hostile_3d import FEATURES_3D
from wirelib import gpu, vfio_user as vfio
from wirelib.control import Control
from wirelib.machine import MIB
from wirelib.process import poll

LIMIT = 64 * MIB
SIDE = 1024     # a texture of 4 MiB
HUGE = 0xFFFFFFFF
VIRGL2 = 2
BUFFER = {"target": 0, "fmt": 64, "bind": 1 << 4}


@pytest.fixture(autouse=True)
def drivers_leak(monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


class Guest:
    def __init__(self, hostile, *arguments):
        self.path = hostile.path("control.sock")
        self.machine = hostile.new_vfio_machine("--renderer=2d,virgl", f"--max-host-memory={LIMIT // MIB}M",
                                                f"--control={self.path}", *arguments,
                                                features=vfio.FEATURES | FEATURES_3D)
        self.machine.realize().start()
        self.pixels = self.machine.memory.alloc(SIDE * SIDE * 4)

    def charged(self):
        with Control(self.path) as control:
            memory = control.must("status")["status"]["memory"]
        assert memory["max_resource_bytes"] == LIMIT
        return memory["resource_bytes"]

    def fill(self, resource):
        """Every texel, so that the host has it for real."""
        self.machine.must(gpu.attach_backing(resource, [(self.pixels, SIDE * SIDE * 4)]))
        self.machine.must(gpu.transfer_3d(gpu.TRANSFER_TO_HOST_3D, 0, resource, (0, 0, 0, SIDE, SIDE, 1)))

    def take_all(self, first=1, **texture):
        """Textures until there is no memory for another; returns how many."""
        for resource in range(first, first + 1000):
            response = self.machine.command(gpu.create_3d(resource, SIDE, SIDE, **texture))
            if response.kind == gpu.ERR_OUT_OF_MEMORY:
                return resource - first
            assert response.ok, response
            self.fill(resource)
        raise AssertionError("no limit")


@pytest.fixture(params=[(), ("--renderer-in-process",)], ids=["worker", "in-process"])
def guest(request, hostile):
    if "opengl" not in json.loads(hostile.run("devices", "--json")[1]):
        pytest.skip("no OpenGL here")
    return Guest(hostile, *request.param)


def test_textures_end_at_the_limit(guest):
    machine = guest.machine
    machine.must(gpu.ctx_create(1, VIRGL2))
    before = machine.process.rss_bytes()
    for round_ in range(3):
        assert guest.take_all() == LIMIT // (4 * MIB) - 1
        assert guest.charged() <= LIMIT
        # The limit is one for all: no picture either. What is there goes on, and so do contexts.
        machine.must_fail(gpu.create_2d(900, SIDE, SIDE), gpu.ERR_OUT_OF_MEMORY)
        machine.must_fail(gpu.set_scanout(0, 1, (0, 0, SIDE, SIDE)), gpu.ERR_OUT_OF_MEMORY)
        machine.must(gpu.transfer_3d(gpu.TRANSFER_FROM_HOST_3D, 0, 1, (0, 0, 0, SIDE, SIDE, 1)))
        machine.must(gpu.submit_3d(1, bytes(4), fence=1 + round_))
        assert machine.process.rss_bytes() - before < machine.process.memory_factor() * (LIMIT + 64 * MIB)
        # One that goes makes room for one.
        machine.must(gpu.unref(3))
        machine.must(gpu.create_3d(3, SIDE, SIDE))
        machine.must_fail(gpu.create_3d(901, SIDE, SIDE), gpu.ERR_OUT_OF_MEMORY)
        for resource in range(1, LIMIT // (4 * MIB)):
            machine.must(gpu.unref(resource))
        assert guest.charged() == 0
    guest.take_all()
    machine.reset()
    assert guest.charged() == 0
    said = [line for line in machine.process.log("warning") if "--max-host-memory" in line]
    assert 1 <= len(said) <= 30, said


@pytest.mark.parametrize("what", [
    {"width": HUGE, "height": HUGE}, {"width": 16384, "height": 16384},
    {"width": HUGE, "height": 1, **BUFFER}, {"width": LIMIT, "height": 1, **BUFFER},
    {"width": 2048, "height": 2048, "target": 3, "depth": 2048}, {"width": 512, "height": 512, "target": 7, "array_size": 64},
    {"width": 512, "height": 512, "target": 7, "array_size": HUGE}, {"width": 2048, "height": 2048, "nr_samples": 4},
    {"width": 2048, "height": 2048, "fmt": 31}, {"width": 4096, "height": 4096, "last_level": 12},
], ids=str)
def test_sizes_beyond_the_limit(guest, what):
    guest.machine.must_fail(gpu.create_3d(1, **what), gpu.ERR_OUT_OF_MEMORY)
    assert guest.charged() == 0


@pytest.mark.parametrize("what", [{"width": 1, "height": 1}, {"width": 1, "height": 1, **BUFFER}], ids=["textures", "buffers"])
def test_small_ones_cost_what_they_take(guest, what):
    """Nothing in them, but what the host keeps of each."""
    machine = guest.machine
    before = machine.process.rss_bytes()
    made = 0
    for start in range(1, 100001, 50):
        requests = [machine.submit(gpu.create_3d(resource, **what), kick=False) for resource in range(start, start + 50)]
        machine.control.kick()
        kinds = [gpu.Response(machine.control.wait(request).data).kind for request in requests]
        made += kinds.count(gpu.OK_NODATA)
        if gpu.ERR_OUT_OF_MEMORY in kinds:
            break
    else:
        raise AssertionError("no limit")
    assert made > 1000
    grown = machine.process.rss_bytes() - before
    assert grown < machine.process.memory_factor() * (LIMIT + 16 * MIB), f"{grown // made} bytes for each of {made}"


def test_contexts_end_at_the_limit(guest):
    """They, and GL contexts inside of them, have a limit of their own."""
    machine = guest.machine
    count = next(n for n in range(100) if machine.command(gpu.ctx_create(n + 1, VIRGL2)).kind == gpu.ERR_OUT_OF_MEMORY)
    assert count == LIMIT // (10 * MIB)
    machine.must(gpu.ctx_destroy(2))
    machine.must(gpu.submit_3d(1, struct.pack("<2I", 29 | 1 << 16, 1)))
    machine.must_fail(gpu.submit_3d(1, struct.pack("<2I", 29 | 1 << 16, 2)))
    machine.must(gpu.submit_3d(3, bytes(4)))
    machine.must_fail(gpu.ctx_create(2, VIRGL2), gpu.ERR_OUT_OF_MEMORY)
    machine.must(gpu.ctx_destroy(1))
    machine.must(gpu.ctx_create(2, VIRGL2))


def test_objects_end_at_the_limit(guest):
    """States without end, each some hundred bytes of the host's."""
    machine = guest.machine
    machine.must(gpu.ctx_create(1, VIRGL2))
    machine.must(gpu.ctx_create(2, VIRGL2))
    before = machine.process.rss_bytes()
    for start in range(1, 1000001, 1000):
        samplers = b"".join(struct.pack("<10I", 1 | 7 << 8 | 9 << 16, handle, *[0] * 8) for handle in range(start, start + 1000))
        if not machine.command(gpu.submit_3d(1, samplers)).ok:
            break
    else:
        raise AssertionError("no limit")
    assert 10000 < start < 100000
    assert machine.process.rss_bytes() - before < machine.process.memory_factor() * LIMIT
    machine.must(gpu.submit_3d(2, bytes(4)))
    machine.must(gpu.ctx_destroy(1))
    machine.must(gpu.submit_3d(2, samplers))


def test_the_workers_end_frees_what_it_had(hostile, guest):
    machine = guest.machine
    children = machine.process.children()
    if not children:
        pytest.skip("there is no worker")
    # When the kernel has to choose, it is the worker.
    assert int(pathlib.Path(f"/proc/{children[0]}/oom_score_adj").read_text()) == 500
    count = guest.take_all()
    os.kill(children[0], signal.SIGKILL)
    poll(lambda: guest.charged() < 2 * MIB, "room for others")
    poll(lambda: machine.process.children() not in ([], children), "the next worker")
    assert guest.take_all(first=100) >= count - 1
    for resource in range(1, count + 1):
        machine.must(gpu.unref(resource))
    assert guest.charged() <= LIMIT
