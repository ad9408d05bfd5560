# SPDX-License-Identifier: MIT
"""What programs on virpipe draw, and what they cannot break."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from conftest import BUILD, NATIVE, PROBE, run

CREATE_RENDERER, PROTOCOL_VERSION = 8, 11
RESOURCE_CREATE2, TRANSFER_PUT2, SUBMIT_CMD, BUSY_WAIT = 12, 14, 6, 7
SOAK_S = float(os.environ.get("PVGPU_GL_SOAK_SECONDS", 0))


def wait_for_no_client(server):
    deadline = time.monotonic() + 20
    while server.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.children(), "processes of clients that left"


def draw(path, environment):
    result = run([PROBE, "draw", path, "info"], environment)
    assert result.returncode == 0, result.stderr
    return path.read_bytes(), json.loads(result.stdout)


def test_picture(server, peer, tmp_path):
    ours, info = draw(tmp_path / "ours.ppm", server.client)
    assert info["renderer"].startswith("virgl (")
    # The same library draws the same, to the bit.
    theirs, _ = draw(tmp_path / "theirs.ppm", peer.client)
    assert ours == theirs
    native, info = draw(tmp_path / "native.ppm", NATIVE)
    assert "virgl" not in info["renderer"] and len(native) == len(ours)
    # Shaders are translated on their way: edges and rounding differ a little.
    far = sum(abs(a - b) > 8 for a, b in zip(ours, native))
    assert far < len(native) / 1000
    # OpenGL's first row is the lowest.
    pixels = ours[-3 * 1024 * 1024:]
    assert pixels[:3] == bytes((255, 0, 0)) and pixels[-3:] == bytes((0x33, 0x4c, 0x66))


def test_glmark2_finds_its_pictures_right(server):
    if not shutil.which("glmark2"):
        pytest.skip("there is no glmark2")
    scenes = [word for name in ("build", "texture", "shading", "bump", "effect2d", "conditionals", "function", "loop")
              for word in ("-b", name)]
    result = run(["xvfb-run", "-a", "glmark2", "--validate", "-s", "400x300", *scenes], server.client, 150)
    assert "GL_RENDERER:    virgl" in result.stdout, result.stdout + result.stderr
    verdicts = re.findall(r"Validation: (\w+)", result.stdout)
    assert verdicts.count("Success") >= 4 and "Failure" not in verdicts, result.stdout


def test_many_clients_with_the_same_ids(server, tmp_path):
    alone, _ = draw(tmp_path / "alone.ppm", server.client)
    running = [subprocess.Popen([PROBE, "draw", tmp_path / f"{i}.ppm", "roundtrip"], env={**os.environ, **server.client},
                                stdout=subprocess.DEVNULL) for i in range(6)]
    assert [process.wait(60) for process in running] == [0] * 6
    assert all((tmp_path / f"{i}.ppm").read_bytes() == alone for i in range(6))
    wait_for_no_client(server)


def test_clients_leave_nothing(server, tmp_path):
    def come_and_go(count, killed):
        running = [subprocess.Popen([PROBE, "draw", tmp_path / f"{i}.ppm", "upload"], env={**os.environ, **server.client},
                                    stdout=subprocess.DEVNULL) for i in range(count)]
        if killed:
            time.sleep(0.3)  # some have come, some draw
            for process in running:
                process.kill()
        codes = [process.wait(60) for process in running]
        assert killed or codes == [0] * count
        wait_for_no_client(server)
        process = pathlib.Path(f"/proc/{server.process.pid}")
        resident_kib = int(re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text()).group(1))
        return len(os.listdir(process / "fd")), len(os.listdir(process / "task")), resident_kib

    come_and_go(4, killed=False)
    fds, threads, resident_kib = come_and_go(4, killed=True)
    end, turns = time.monotonic() + SOAK_S, 0
    while turns < 6 or time.monotonic() < end:
        after = come_and_go(4, killed=turns % 2 == 1)
        turns += 1
    print(f"{4 * turns} clients: {(fds, threads, resident_kib)} became {after}")
    assert after[:2] == (fds, threads)
    assert after[2] < resident_kib + 4096


def test_vulkan_on_the_same_socket(server):
    result = run(["vulkaninfo", "--summary"], {"VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/virtio_icd.json", "VN_DEBUG": "vtest",
                                               "VTEST_SOCKET_NAME": str(server.socket)})
    assert "Virtio-GPU Venus" in result.stdout, result.stdout + result.stderr


class Client:
    """A client by hand."""

    def __init__(self, server):
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(30)
        self.link.connect(str(server.socket))
        name = b"by hand\0"
        self.link.sendall(struct.pack("<2I", len(name), CREATE_RENDERER) + name)
        self.send(PROTOCOL_VERSION, 2)
        assert self.words(3)[2] == 2

    def send(self, command, *words):
        self.link.sendall(struct.pack(f"<{2 + len(words)}I", len(words), command, *words))

    def words(self, count):
        data = b""
        while len(data) < 4 * count:
            more = self.link.recv(4 * count - len(data))
            if not more:
                raise ConnectionError("it was closed")
            data += more
        return struct.unpack(f"<{count}I", data)

    def texture(self, number, size_bytes=64 * 64 * 4):
        self.send(RESOURCE_CREATE2, number, 2, 1, 2, 64, 64, 1, 1, 0, 0, size_bytes)
        _, fds, _, _ = socket.recv_fds(self.link, 1, 1)
        return fds[0]

    def goes_on(self):
        """Whether all that was sent has been carried out, and its connection is there."""
        try:
            self.send(BUSY_WAIT, 1, 1)
            return self.words(3)[2] == 0
        except ConnectionError:
            return False


HOSTILE = {
    "an unknown command": [0xff],
    "a length beyond the buffer": [0xffff0001],
    "a draw without state": [12 << 16 | 8, *[0xffffffff] * 12],
    "a clear without a framebuffer": [8 << 16 | 7, *[0xffffffff] * 8],
    "a resource that is not there": [11 << 16 | 9, 0x7777, *[0] * 10],
    "a transfer from nowhere": [13 << 16 | 43, 0x7777, *[0xffffffff] * 12],
    "a blit of nothing": [21 << 16 | 16, *[0xffffffff] * 21],
    "zeros": [0] * 64,
}


@pytest.mark.parametrize("stream", HOSTILE.values(), ids=HOSTILE)
def test_bad_streams_lose_their_context_only(server, tmp_path, stream):
    good, bad = Client(server), Client(server)
    os.close(good.texture(1))
    os.close(bad.texture(1))
    bad.send(SUBMIT_CMD, *stream)
    # Carried out as far as it means something, or refused.
    if not bad.goes_on():
        assert server.log().count("its context is lost: ") == 1, server.log()
    else:
        assert stream != HOSTILE["an unknown command"]
    assert good.goes_on()
    draw(tmp_path / "after.ppm", server.client)


def test_transfers_outside_of_their_memory(server):
    for box in ((0, 0, 0, 64, 64, 1), (0xffffffff, 0, 0, 64, 64, 1), (0, 0, 0xffffff00, 1, 1, 1), (0, 0, 0, 0xffffffff, 1, 1)):
        client = Client(server)
        os.close(client.texture(1, 4096))  # smaller than the texture
        client.send(TRANSFER_PUT2, 1, 0, *box, 4096, 0xfffff000)
        assert not client.goes_on()


def test_the_librarys_crash_is_one_clients(server, tmp_path):
    victim, other = Client(server), Client(server)
    os.close(victim.texture(1))
    os.close(other.texture(1))
    assert len(server.children()) == 2
    os.kill(server.children()[0], signal.SIGABRT)
    deadline = time.monotonic() + 20
    while len(server.children()) == 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not victim.goes_on()
    assert other.goes_on()
    draw(tmp_path / "after.ppm", server.client)
    assert "ended by signal 6" in server.log()


def test_wrong_renderers_are_refused():
    result = run([BUILD / "pvgpu", "vtest", "--renderer=opengl", "--socket-path=/tmp/pvgpu-no.sock"], {})
    assert result.returncode in (1, 2) and result.stderr
