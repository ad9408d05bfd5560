# SPDX-License-Identifier: MIT
"""The process that draws: it is killed, stopped, or does not start. The front end's process lives on, or says why not."""

import os
import signal
import subprocess

import pytest

from test_hostile_3d import CONTEXT, FEATURES_3D, MIB, VENUS, WINDOW
from wirelib import gpu, vfio_user as vfio, vhost_user as vu
from wirelib.machine import DRIVER
from wirelib.process import poll

BLOB = 200


@pytest.fixture(autouse=True)
def drivers_leak(monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


@pytest.fixture(params=["vfio-user", "vhost-user"])
def machine(request, hostile):
    arguments = ("--renderer=2d,venus", f"--window={WINDOW // MIB}M")
    if request.param == "vfio-user":
        new = hostile.new_vfio_machine(*arguments, features=vfio.FEATURES | FEATURES_3D)
    else:
        new = hostile.new_machine(*arguments, features=DRIVER | FEATURES_3D, back_channel=vu.BackChannel())
    new.realize().start()
    new.must(gpu.ctx_create(CONTEXT, VENUS))
    return new


def new_worker(machine, old):
    """The process id of the next one, once it draws."""
    def found():
        return next((pid for pid in machine.process.children() if pid != old), None)
    pid = poll(found, "another worker")
    # Until it has started, contexts wait.
    machine.must(gpu.ctx_create(CONTEXT + 1, VENUS))
    machine.must(gpu.submit_3d(CONTEXT + 1, fence=1))
    machine.must(gpu.ctx_destroy(CONTEXT + 1))
    return pid


def test_killed(machine):
    """What it had is lost, and can be ended; what is made next is drawn by the next one. 2D goes on."""
    machine.must(gpu.create_host_blob(CONTEXT, BLOB, MIB))
    machine.must(gpu.map_blob(BLOB, 0))
    picture, _ = machine.picture(64, 64)
    old, = machine.process.children()
    os.kill(old, signal.SIGKILL)
    machine.process.wait_for_log(lambda lines: any("killed by signal 9" in line and "contexts lost: 1" in line for line in lines), "its end")
    machine.must_fail(gpu.submit_3d(CONTEXT, bytes(8), fence=1))
    machine.must(gpu.flush(picture, (0, 0, 64, 64)))
    machine.must(gpu.unmap_blob(BLOB))
    machine.must(gpu.unref(BLOB))
    machine.must(gpu.ctx_destroy(CONTEXT))
    new_worker(machine, old)
    machine.must(gpu.ctx_create(CONTEXT, VENUS))
    machine.must(gpu.create_host_blob(CONTEXT, BLOB, MIB))
    machine.must(gpu.map_blob(BLOB, 0))


def test_killed_with_work_pending(machine):
    """Each request in flight is answered, once."""
    old, = machine.process.children()
    os.kill(old, signal.SIGSTOP)
    requests = [machine.submit(gpu.submit_3d(CONTEXT, bytes(8), fence=n)) for n in range(8)]
    requests.append(machine.submit(gpu.create_host_blob(CONTEXT, BLOB, MIB)))
    os.kill(old, signal.SIGKILL)
    for request in requests:
        assert not gpu.Response(machine.control.wait(request).data).ok
    machine.must(gpu.ctx_destroy(CONTEXT))
    new_worker(machine, old)


def test_it_ends_with_the_device(machine, lab):
    worker, = machine.process.children()
    machine.process.kill()
    lab.processes.remove(machine.process)
    poll(lambda: not is_running(worker), "the worker's end")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_driver_that_crashes_at_the_start(lab, monkeypatch):
    source, library, driver = (lab.path(name) for name in ("crash.c", "crash.so", "crash.json"))
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void start(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    driver.write_text('{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}' % library)
    monkeypatch.setenv("VK_DRIVER_FILES", str(driver))
    command = ("vfio-user", f"--socket-path={lab.path('s')}", "--renderer=2d,venus", "--control=none")
    code, _, errors = lab.run(*command)
    assert code == 1 and "the renderers' process did not start: killed by signal 6" in errors, errors
    # Which is what it is for.
    assert lab.run(*command, "--renderer-in-process")[0] == -signal.SIGABRT
