# SPDX-License-Identifier: MIT
"""pvgpu vtest, the process, with clients that are friendly, hostile, many, or dying."""

import glob
import os
import random
import select
import socket
import struct
import subprocess
import threading

import pytest

from wirelib import vtest
from wirelib.process import PATIENCE, Process, poll, program
from wirelib.vtest import Client, Closed, message, words

DRIVERS = [f"/usr/share/vulkan/icd.d/{name}" for name in ("lvp_icd.json", "lvp_icd.x86_64.json", "lvp_icd.aarch64.json")]


class Server:
    def __init__(self, lab, *arguments):
        driver = next((path for path in DRIVERS if os.path.exists(path)), None)
        if driver is None and "VK_DRIVER_FILES" not in os.environ:
            pytest.skip("lavapipe is not installed")
        os.environ.setdefault("VK_DRIVER_FILES", driver or "")
        self.path = lab.path("vtest.sock")
        self.process = lab.start(f"--socket-path={self.path}", *arguments, verb="vtest")
        self.process.wait_for_log(lambda lines: any("listening" in line or "no Vulkan" in line for line in lines),
                                  "that it listens")
        if not self.process.is_alive():
            pytest.skip("built without Vulkan")
        self.idle_fds = None

    def client(self):
        return Client(self.path)

    def settle(self):
        """Its descriptors and threads, once they stay the same."""
        last = [None, 0]

        def steady():
            now = self.process.fd_count(), self.process.threads()
            last[1] = last[1] + 1 if now == last[0] else 0
            last[0] = now
            return last[1] >= 50
        poll(steady, "a steady number of descriptors and threads")
        return last[0]

    def check_idle(self, idle):
        poll(lambda: self.process.fd_count() <= idle[0] and self.process.threads() <= idle[1],
             f"back to {idle} descriptors and threads; there are {self.process.fd_names()}")

    def is_healthy(self):
        with self.client().start("health") as client:
            assert client.ring().instance_version(client.blob(4096)) >= 1 << 22


@pytest.fixture
def server(lab):
    return Server(lab)


@pytest.fixture
def bad_server(hostile):
    return Server(hostile)


def readable(fd, seconds=0.0):
    return bool(select.select([fd], [], [], seconds)[0])


def test_handshake_and_capset(server):
    with server.client().introduce() as client:
        valid, *capset = client.ask(vtest.GET_CAPSET, vtest.VENUS, 0)
        assert valid == 1 and len(capset) == 40
        assert capset[0] == 1 and capset[1] >= 0x00401000 and capset[4] == 1, "wire format, vk.xml, blob id 0"
        assert client.ask(vtest.GET_CAPSET, 1, 0) == (0,)
        assert client.ask(vtest.GET_PARAM, 99) == (0, 0)
        client.send(vtest.CONTEXT_INIT, vtest.VENUS)
        client.round_trip()


def test_commands_are_answered(server):
    server.is_healthy()


def test_blobs_are_shared_and_sealed(server):
    with server.client().start() as client:
        blob = client.blob(131268)
        assert blob.memory[:16] == bytes(16)
        # A client that cuts the file short would have us fault.
        with pytest.raises(OSError):
            os.ftruncate(blob.fd, 4096)
        blob.unref()
        client.blobs.clear()
        client.round_trip()


def test_memory_that_cannot_be_had(bad_server):
    with bad_server.client().start() as client:
        assert client.blob(1 << 62).memory is None
        client.round_trip()
    bad_server.is_healthy()


def test_syncs_and_fences(server):
    with server.client().start() as client:
        sync = client.sync(3)
        waiting, done = client.wait([(sync, 9)]), client.wait([(sync, 3)])
        assert readable(done, PATIENCE) and not readable(waiting)
        client.submit(syncs=[(sync, 8)])
        assert client.sync_value(sync) == 8 or client.sync_value(sync) == 8
        client.submit(syncs=[(sync, 9)], ring_idx=0)
        assert readable(waiting, PATIENCE)
        client.submit(flags=vtest.OUT_FENCE_FD)
        fence = client.read_fd()
        assert readable(fence, PATIENCE)
        client.submit(flags=vtest.IN_FENCE_FD, syncs=[(sync, 10)], fds=[fence])
        assert client.sync_value(sync) == 10
        for fd in (waiting, done, fence):
            os.close(fd)


def test_a_lost_context_stays_connected(bad_server):
    with bad_server.client().start() as client:
        sync = client.sync()
        client.submit(words(0x7777, 0, 0))
        client.submit(syncs=[(sync, 5)], ring_idx=1)
        poll(lambda: client.sync_value(sync) == 5, "the fence of a lost context")
        assert client.blob(4096).memory is None
    bad_server.is_healthy()


def test_rings_come_and_go(server):
    idle = server.settle()
    with server.client().start() as client:
        for ring in range(1, 5):
            client.ring(ring << 12)
        assert server.process.threads() >= idle[1] + 4
    server.check_idle(idle)


@pytest.mark.parametrize("data", [
    pytest.param(b"\xff" * 64, id="ones"),
    pytest.param(b"\0" * 64, id="zeros"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
    pytest.param(message(vtest.PROTOCOL_VERSION, 4), id="no-name"),
    pytest.param(words(0xFFFFFFFF, vtest.CREATE_RENDERER), id="long-name"),
    pytest.param(words(2, vtest.CREATE_RENDERER) + b"a\0" + message(vtest.CREATE_BLOB, 2, 1, 4096, 0, 0, 0), id="no-context"),
])
def test_strangers(bad_server, data):
    client = bad_server.client()
    client.send_bytes(data)
    assert client.is_closed()
    bad_server.process.check_one_complaint()
    bad_server.is_healthy()


BAD = {
    "unknown-command": message(99),
    "open-gl": message(1),
    "too-long": words(0xFFFFFFFF, vtest.SUBMIT_CMD2),
    "wrong-length": message(vtest.GET_PARAM, 1, 2),
    "second-context": message(vtest.CONTEXT_INIT, 4),
    "blob-type": message(vtest.CREATE_BLOB, 9, 1, 4096, 0, 0, 0),
    "foreign-resource": message(vtest.RESOURCE_UNREF, 1),
    "foreign-sync": message(vtest.SYNC_WRITE, 1, 0, 0),
    "commands-outside": message(vtest.SUBMIT_CMD2, 1, 0, 0xFFFFFFF0, 0x20, 0, 0, 0, 0, 0),
    "syncs-outside": message(vtest.SUBMIT_CMD2, 1, 0, 9, 0, 9, 0x55555556, 0, 0, 0),
    "many-batches": message(vtest.SUBMIT_CMD2, 0x20000000, 0, 0),
    "no-timeline": message(vtest.SUBMIT_CMD2, 1, 1, 9, 0, 9, 0, 64, 0, 0),
    "no-fence": message(vtest.SUBMIT_CMD2, 1, 2, 9, 0, 9, 0, 0, 0, 0),
    "wait-for-nothing": message(vtest.SYNC_WAIT, 0, 0, 7, 0, 0),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD.items()])
def test_broken_messages(bad_server, data):
    with bad_server.client().start() as bystander:
        client = bad_server.client().start()
        client.send_bytes(data)
        assert client.is_closed()
        bad_server.process.check_one_complaint()
        bystander.round_trip()


def test_a_client_that_does_not_read(bad_server):
    idle = bad_server.settle()
    deaf = bad_server.client().start()
    deaf.sock.settimeout(0.3)
    try:
        for _ in range(100000):
            deaf.send_bytes(message(vtest.GET_PARAM, 1) * 100)
    except TimeoutError:
        pass
    else:
        raise AssertionError("it is read without end")
    bad_server.is_healthy()
    deaf.close()
    bad_server.check_idle(idle)


def test_a_client_that_wants_everything(bad_server):
    idle = bad_server.settle()
    with bad_server.client().start() as client:
        for _ in range(600):
            client.send(vtest.CREATE_BLOB, vtest.HOST3D, vtest.MAPPABLE, 4096, 0, 0, 0)
            os.close(client.read_blob(4096).fd)
            client.blobs.pop().memory.close()
        # The server keeps them all until the client leaves, and it is the client alone who has them.
        bad_server.is_healthy()
    bad_server.check_idle(idle)


def test_descriptors_that_nobody_asked_for(bad_server):
    idle = bad_server.settle()
    client = bad_server.client().start()
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    with pytest.raises((Closed, BrokenPipeError)):
        for _ in range(20):
            client.send_bytes(message(vtest.GET_PARAM, 1), fds)
            client.read(vtest.GET_PARAM)
    for fd in fds:
        os.close(fd)
    client.close()
    bad_server.check_idle(idle)


def die_somewhere(server, rng):
    """A client up to a random point of its life; then nothing of it is left."""
    client = server.client()
    life = [
        lambda: client.send_bytes(words(5, vtest.CREATE_RENDERER)[:rng.randrange(9)]),
        client.introduce,
        lambda: client.send(vtest.CONTEXT_INIT, vtest.VENUS),
        lambda: client.blob(rng.choice([4096, 1 << 20])),
        client.ring,
        lambda: client.ring(0x2000).create_instance(client.blob(4096)),
        lambda: client.submit(syncs=[(client.sync(), 1)], ring_idx=1),
        lambda: os.close(client.wait([(client.sync(), 1)])),
        lambda: client.send(vtest.CREATE_BLOB, vtest.HOST3D, vtest.MAPPABLE, 1 << 16, 0, 0, 0),
        lambda: client.send_bytes(message(vtest.SUBMIT_CMD2, *range(40))[:rng.randrange(1, 100)]),
    ]
    moments = rng.randrange(len(life))
    try:
        for act in life[1:1 + moments] or life[:1]:
            act()
    except Closed:
        pass
    client.close()


def test_200_killed_clients_leave_nothing(bad_server):
    rng = random.Random(1)
    for _ in range(10):
        die_somewhere(bad_server, rng)
    idle = bad_server.settle()
    before = bad_server.process.rss_bytes()
    for _ in range(200):
        die_somewhere(bad_server, rng)
    bad_server.check_idle(idle)
    grown = bad_server.process.rss_bytes() - before
    # A sanitizer keeps what was freed, and looks for leaks at the end itself.
    assert grown < 16 << 20 or bad_server.process.memory_factor() > 1, f"{grown} bytes more"
    bad_server.is_healthy()


def test_8_clients_at_once_some_killed(bad_server):
    idle = bad_server.settle()
    stop, failures, rounds = threading.Event(), [], [0] * 8

    def work(number):
        try:
            with bad_server.client().start(f"worker-{number}") as client:
                reply, sync = client.blob(4096), client.sync()
                ring = client.ring()
                while not stop.is_set():
                    assert ring.instance_version(reply) >= 1 << 22
                    rounds[number] += 1
                    client.submit(syncs=[(sync, rounds[number])])
                    fd = client.wait([(sync, rounds[number])])
                    assert readable(fd, PATIENCE), "a fence does not come"
                    os.close(fd)
        except Exception as error:  # reported by the main thread
            failures.append((number, repr(error)))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    rng = random.Random(2)
    for _ in range(100):
        die_somewhere(bad_server, rng)
    before = list(rounds)
    poll(lambda: failures or all(now > then for now, then in zip(rounds, before)), "all workers go on")
    stop.set()
    for worker in workers:
        worker.join()
    assert not failures, failures
    bad_server.check_idle(idle)


def test_random_bytes(bad_server):
    rng = random.Random(3)
    commands = [3, 7, 10, 11, *range(15, 25)]
    for _ in range(60):
        client = bad_server.client().start()
        try:
            for _ in range(20):
                command, count = rng.choice(commands), rng.choice([0, 1, 2, 3, 6, 7, 9, 20])
                values = [rng.choice([0, 1, 2, 4, 7, 9, 4096, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in range(count)]
                client.send(command, *values)
        except Closed:
            pass
        client.close()
    bad_server.is_healthy()


def test_status(lab):
    control = lab.path("control.sock")
    server = Server(lab, f"--control={control}")
    with server.client().start("somebody") as client:
        client.blob(1 << 20)
        code, out, err = lab.run("status", f"--control={control}")
        assert code == 0, err
        assert b"somebody" in out and b"1.0 MiB in 1 blobs" in out, out
        code, out, err = lab.run("screenshot", "-o", "/dev/null", f"--control={control}")
        assert code == 1 and "vtest" in err


def test_the_socket_file(lab):
    path = lab.path("vtest.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    server = Server(lab)
    server.is_healthy()
    other = Process(f"--socket-path={path}", "--control=none", verb="vtest")
    assert other.wait() == 1 and "another process" in other.complaints()[0]
    server.is_healthy()
    assert server.process.terminate() == 0
    assert not path.exists()


def test_an_inherited_socket(lab):
    path = lab.path("inherited.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        Server(lab).process.terminate()
        process = lab.start(f"--fd={listener.fileno()}", "--control=none", verb="vtest", pass_fds=[listener.fileno()])
        with Client(path) as client:
            client.start().round_trip()
        assert process.terminate() == 0


@pytest.mark.parametrize("arguments, hint", [
    (["--device=there-is-no-such-gpu"], "pvgpu devices"),
    (["--device="], "pvgpu devices"),
    (["--socket-path=/no/such/directory/vtest.sock"], "make it"),
    (["--socket-path=" + "x" * 200], "choose another"),
    (["--fd=77"], "pass an open socket"),
    (["--fd=0"], "pass a Unix stream socket"),
    (["--max-clients=0"], "1 to 1000"),
    (["--log-level=loud"], "debug"),
    (["word"], "begin with --"),
    (["--colour"], "--help"),
])
def test_wrong_command_lines(lab, arguments, hint):
    Server(lab).process.terminate()
    code, out, err = lab.run("vtest", "--control=none", *arguments)
    assert code in (1, 2) and not out
    assert hint in err, err
    assert all(line.startswith("pvgpu: ") for line in err.splitlines()), err


def test_devices(lab):
    Server(lab).process.terminate()
    code, out, err = lab.run("devices")
    assert code == 0 and b"llvmpipe" in out and b"guest     Vulkan 1." in out, err
    code, out, err = lab.run("devices", "--json", "--emulate-portability")
    assert code == 0 and b'"portability_subset"' in out, err
    code, out, err = lab.run("devices", "extra")
    assert code == 2 and "takes no name" in err


@pytest.mark.parametrize("hidden, hint", [
    (("libOpenGL.so.0", "libGL.so.1"), None),
    (("libOpenGL.so.0", "libGL.so.1", "libGLESv2.so.2"), "libopengl0"),
])
def test_devices_without_a_library_of_opengl(lab, hidden, hint):
    """virglrenderer would end the process: it opens them when it first draws."""
    _, out, _ = lab.run("devices")
    if b"OpenGL by" not in out or os.getuid() != 0:
        pytest.skip("this needs a build with OpenGL, and root to hide files")
    files = [path for name in hidden for path in glob.glob(f"/usr/lib/*-linux-gnu/{name}")]
    script = "".join(f"mount --bind /dev/null {path} && " for path in files) + f"exec {program()} devices"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0 and b"llvmpipe" in done.stdout, done.stderr
    assert (b"OpenGL by" in done.stdout) == (hint is None), done
    assert not hint or hint in done.stderr.decode(), done.stderr


def test_no_driver_at_all(lab, monkeypatch):
    Server(lab).process.terminate()
    monkeypatch.setenv("VK_DRIVER_FILES", "/nonexistent.json")
    for verb in ("devices", "vtest"):
        code, out, err = lab.run(verb, *([f"--socket-path={lab.path('none.sock')}"] if verb == "vtest" else []))
        # OpenGL is another matter.
        assert code == 1 and not [line for line in out.splitlines() if not line.startswith(b"OpenGL")], out
        assert "mesa-vulkan-drivers" in err or "pvgpu devices" in err, err
