# SPDX-License-Identifier: MIT
"""pvgpu run: one command for a guest with Vulkan; how it and its parts end."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from rig import picture, procs, session
from rig.session import vm

PROGRAM = session.BUILD / "pvgpu"


class Launched(vm.Machine):
    """The test guest, started by pvgpu run: what the rig needs beside it goes behind "--"."""

    def __init__(self, *arguments, **more):
        self.arguments = arguments
        super().__init__(memory_mib=2048, **more)

    def _command(self, gpu, display, qemu, board, memory_mib, cpus, kernel, extra, image):
        return [
            *vm.CONFINED, str(PROGRAM), "run", f"--kernel={image}/vmlinuz", f"--initrd={image}/initrd.img",
            "--append=quiet loglevel=4 mitigations=off nokaslr tsc=reliable no_timer_check audit=0 panic=-1",
            "--snapshot", str(image / "root.erofs"), f"--memory={memory_mib}M", f"--smp={cpus}",
            f"--console={self.serial_log}", f"--control={self.directory}/control.sock", *self.arguments, "--",
            "-virtfs", f"local,path={self.share},mount_tag=host,security_model=none", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.directory}/agent.sock,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=pvgpu", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-qmp", f"unix:{self.directory}/qmp.sock,server=on,wait=off", *extra]

    def parts(self):
        """(name, pid) of all that runs under it. The launcher has the place of setpriv."""
        return [(pathlib.Path(f"/proc/{pid}/exe").resolve().name, pid) for pid in procs.with_children(self.process.pid)[1:]]


@pytest.fixture
def short_directory():
    """A socket's path has about 100 bytes."""
    directory = tempfile.mkdtemp(prefix="pvgpu-run-", dir="/tmp")
    yield pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def launched(directory, *arguments):
    with Launched(*arguments, directory=directory) as machine:
        try:
            yield machine
        except BaseException:
            print(machine.logs())
            raise


def wait_for_end(machine, parts, timeout_s=20):
    code = machine.process.wait(timeout_s)
    for name, pid in parts:
        assert session.wait_until(lambda: not procs.is_running(pid), 10), f"{name} goes on"
    return code


@pytest.mark.parametrize("transport", ["vfio-user", "vhost-user"])
def test_guest_has_vulkan(short_directory, transport):
    with launched(short_directory, f"--transport={transport}") as machine:
        info = machine.check("vulkaninfo --summary", 120)
        assert re.search(r"deviceName\s*= Virtio-GPU Venus \(", info), info
        machine.start_x()
        assert "OpenGL renderer string: virgl (" in machine.check("glxinfo -B", 120)
        machine.stop_x()
        [triangle] = machine.install(session.BUILD / "guest/triangle/pvgpu-triangle")
        machine.start(f"{triangle} --kms --hold 300", 300)
        shot, last = short_directory / "shot.png", []

        def right():
            subprocess.run([str(PROGRAM), "screenshot", f"--control={short_directory}/control.sock", "-o", str(shot)], check=True)
            last[:] = [picture.triangle_difference(picture.read(shot))]
            return last[0] is None
        assert session.wait_until(right, 60, 0.5), last[0]
        parts = machine.parts()
        # The device and the process that draws for it.
        assert sorted(name for name, _ in parts) == ["pvgpu", "pvgpu", "qemu-system-x86_64"]
        # The guest ends QEMU with (3 << 1) | 1.
        machine.start(r"printf '\003' | dd of=/dev/port bs=1 seek=244 conv=notrunc")
        assert wait_for_end(machine, parts) == 7
        assert not (short_directory / "control.sock").exists()
        assert "pvgpu: error" not in machine.qemu_log.read_text(), machine.qemu_log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_end_together(short_directory, number):
    with launched(short_directory) as machine:
        parts = machine.parts()
        assert len(parts) == 3
        machine.process.send_signal(number)
        assert wait_for_end(machine, parts) == (0 if number == signal.SIGTERM else -signal.SIGKILL)


INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do insmod $module; done
for word in $(cat /proc/cmdline); do
    case $word in
    root=*) root=${word#*=} ;;
    rootfstype=*) type=${word#*=} ;;
    rootflags=*) flags=${word#*=} ;;
    rw | ro) mode=$word ;;
    esac
done
mount -t $type -o $mode,$flags $root /new
mount --move /dev /new/dev
exec switch_root /new /sbin/init
"""
SBIN_INIT = """#!/bin/sh
export PATH=/bin
if echo written >/answer; then echo "root is writable"; else echo "root is read-only"; fi >/dev/ttyS0
printf '\\001' | dd of=/dev/port bs=1 seek=244 conv=notrunc
"""


@pytest.mark.parametrize("snapshot", [False, True])
def test_directory_as_root(short_directory, snapshot):
    """A root file system in a directory, with its kernel: no image, no mount, no daemon."""
    image, root = vm.guest_image(), short_directory / "root"
    tree = short_directory / "initrd"
    tree.mkdir()
    subprocess.run(f"cpio --quiet -id <{image}/initrd.img", shell=True, cwd=tree, check=True)
    for name in ("boot", "bin", "sbin", "dev", "proc"):
        (root / name).mkdir(parents=True)
    (tree / "init").write_text(INIT)
    subprocess.run(f"find . | cpio --quiet -o -H newc >{root}/boot/initrd.img-7.3", shell=True, cwd=tree, check=True)
    shutil.copy(image / "vmlinuz", root / "boot/vmlinuz-7.3")
    shutil.copy(tree / "bin/busybox", root / "bin")
    for applet in ("sh", "echo", "dd", "printf"):
        os.symlink("busybox", root / "bin" / applet)
    (root / "sbin/init").write_text(SBIN_INIT)
    (root / "sbin/init").chmod(0o755)
    console = short_directory / "console"
    more = ["--snapshot"] if snapshot else []
    result = subprocess.run(
        [str(PROGRAM), "run", str(root), *more, "--memory=512M", f"--console={console}", "--control=none", "--renderer=2d",
         "--append=quiet panic=-1", "--", "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-no-reboot"],
        capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 3, result.stderr + console.read_text(errors="replace")
    assert ("root is read-only" if snapshot else "root is writable") in console.read_text(errors="replace")
    assert (root / "answer").exists() != snapshot
