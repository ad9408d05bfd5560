# SPDX-License-Identifier: MIT
"""Many clients at once, killed at any moment: nothing of them stays and nobody else notices."""

import json
import os
import random
import signal
import subprocess
import time

from rig import drivers
from rig.server import poll

CLIENTS = 8
SOAK_S = float(os.environ.get("PVGPU_VENUS_SOAK_SECONDS", "40"))
WORK = ["objects/", "memory/map", "memory/many", "compute/", "draw/", "sync/", "transfer/"]


class Client:
    def __init__(self, environment, random_number):
        self.process = subprocess.Popen([drivers.VK_TESTS, "--seconds=60", random_number.choice(WORK)], env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                        start_new_session=True)

    def kill(self):
        """The program and the process of its case, which is the client of the server."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.communicate()


def crowd(server, environment, seconds, seed):
    """Keeps 8 clients running, kills one now and then; the first one is left alone and its results returned."""
    random_number = random.Random(seed)
    deadline = time.monotonic() + seconds
    clients = [Client(environment, random_number) for _ in range(CLIENTS - 1)]
    undisturbed, killed = [], 0
    quiet = subprocess.Popen([drivers.VK_TESTS, "--seconds=60", "memory/map", "sync/", "draw/"], env=environment,
                             stdout=subprocess.PIPE, text=True)
    while time.monotonic() < deadline:
        time.sleep(random_number.uniform(0.05, 0.4))
        assert server.alive(), server.log()[-4000:]
        at = random_number.randrange(len(clients))
        if clients[at].process.poll() is None:
            killed += 1
        clients[at].kill()
        clients[at] = Client(environment, random_number)
        if quiet.poll() is not None:
            undisturbed.append(quiet.stdout.read())
            quiet = subprocess.Popen([drivers.VK_TESTS, "--seconds=60", "memory/map", "sync/", "draw/"], env=environment,
                                     stdout=subprocess.PIPE, text=True)
    undisturbed.append(quiet.communicate(timeout=300)[0])
    for client in clients:
        client.kill()
    return undisturbed, killed


def test_clients_killed(client, servers, mesa, monkeypatch):
    # Else AddressSanitizer keeps 256 MiB of what was freed, and is a long time getting there.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16")
    server = servers("--log-level=warning")
    environment = client(server)
    native = subprocess.run([drivers.VK_TESTS, "memory/map", "sync/", "draw/"], env=drivers.native(), capture_output=True, text=True,
                            check=True)
    expected = {case["case"]: case for case in map(json.loads, native.stdout.splitlines())}
    # What is made once, and memory that allocators keep, is there after a first round.
    crowd(server, environment, min(SOAK_S / 4, 30), seed=1)
    before = server.settled()
    undisturbed, killed = crowd(server, environment, SOAK_S, seed=2)
    assert killed > 10, f"only {killed} were killed while they ran"
    for text in undisturbed:
        for case in map(json.loads, text.splitlines()):
            if case["status"] != "skip":
                assert case["status"] == "pass", case
                same = set(expected[case["case"]]["values"].items()) >= set(case["values"].items())
                assert same, f"{case} differs from {expected[case['case']]}"
    poll(lambda: server.settled().fds <= before.fds, f"as many fds as before: {before}")
    after = server.settled()
    print(f"{killed} killed; {before}; after: {after}")
    assert after.threads <= before.threads, f"{before} became {after}"
    assert after.mappings <= before.mappings + 60, f"{before} became {after}"
    # The heap's free memory goes back to the kernel with each client that ends; stacks of ended threads, up to 40 MiB, do not.
    # A sanitizer keeps some of what is freed.
    grown_mib = 48 if drivers.BUILD.name not in ("asan", "tsan") else before.rss_mib * 0.2 + 60
    assert after.rss_mib <= before.rss_mib + grown_mib, f"{before} became {after}"


def test_server_is_killed(client, servers):
    """A client whose server is gone must end too, one way or another; the next server serves at once."""
    server = servers()
    process = subprocess.Popen([drivers.VK_TESTS, "--seconds=8", "sync/threads"], env=client(server), stdout=subprocess.PIPE, text=True)
    time.sleep(0.7)
    server.kill()
    server.stop = lambda: None  # what ends by SIGKILL has no good exit code
    process.communicate(timeout=60)
    again = servers()
    result = subprocess.run([drivers.VK_TESTS, "sync/idle"], env=client(again), capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(result.stdout)["status"] == "pass"
