# SPDX-License-Identifier: MIT
"""Boots the guest image in QEMU and runs commands in it. Python 3, standard library only.

    with Machine(gpu=["-device", "virtio-gpu-pci"]) as machine:
        print(machine.run("uname -r").stdout)

Runs inside the environment (./run shell -- python3 ...). See Machine and Device.
"""

import atexit
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "guest"))
from image import read_image  # noqa: E402 (a module beside this one)

# What ends with this process, in whatever way this process ends. PR_SET_PDEATHSIG looks at the thread that started the
# child: start machines and devices from a thread that lives as long as they shall.
CONFINED = ["setpriv", "--pdeathsig", "KILL", "--"]


class GuestError(Exception):
    """The guest, QEMU or the device did not do what was asked. The text has the end of their logs."""


class Result:
    """Of a command in the guest: returncode (124 if it was out of time), stdout, stderr."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr

    def __repr__(self):
        return f"<Result {self.returncode} {self.stdout[-200:]!r} {self.stderr[-200:]!r}>"


def cache_directory():
    if os.environ.get("PVGPU_CACHE"):
        return pathlib.Path(os.environ["PVGPU_CACHE"])
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pvgpu"


RELEASES = ("trixie-backports", "trixie", "bookworm")


def guest_image(release=RELEASES[0]):
    """The directory of the guest image of a Debian release, which is made if it is not there."""
    result = subprocess.run([TOP / "guest/build-image", release], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise GuestError("the guest image could not be made")
    return pathlib.Path(result.stdout.strip())


def kvm_works(say=lambda text: None):
    """Whether KVM runs a guest to its end within 2 s. /dev/kvm may be there and its guests never get anywhere.

    A good answer is kept until the host reboots, a bad one for an hour.
    """
    if os.environ.get("PVGPU_ACCEL") in ("tcg", "kvm"):
        return os.environ["PVGPU_ACCEL"] == "kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note = cache_directory() / "kvm.json"
    try:
        known = json.loads(note.read_text())
        if known["boot_id"] == boot_id and (known["works"] or abs(time.time() - known["time"]) < 3600):
            return known["works"]
    except (OSError, ValueError, KeyError):
        pass
    say("trying whether KVM works here")
    works = _halts(["-accel", "kvm", "-cpu", "host"], 2)
    note.parent.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"boot_id": boot_id, "works": works, "time": time.time()}))
    temporary.replace(note)
    return works


def _halts(accelerator, limit):
    """Whether a guest of one boot sector, started by the BIOS, ends QEMU by its own act within `limit` seconds."""
    sector = bytes([0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd])  # mov al,42; out 0xf4,al; hlt; jmp back to hlt
    sector += bytes(510 - len(sector)) + b"\x55\xaa"
    with tempfile.TemporaryDirectory(prefix="pvgpu-kvm-") as directory:
        disk = pathlib.Path(directory) / "disk"
        disk.write_bytes(sector)
        process = subprocess.Popen(
            [*CONFINED, "qemu-system-x86_64", "-machine", "pc", *accelerator, "-m", "16", "-nodefaults", "-no-user-config",
             "-display", "none", "-drive", f"file={disk},format=raw,if=ide",
             "-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return process.wait(limit) == 42 << 1 | 1
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                pass  # stuck in the kernel: not ours to wait for
            return False


_alive = weakref.WeakSet()


@atexit.register
def _close_all():
    for thing in list(_alive):
        thing.close()


def _tail(path, lines=25):
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _connect(path, process, what, log, limit=20):
    """Connects to a socket that a process just started is about to make."""
    deadline = time.monotonic() + limit
    while True:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.connect(str(path))
            return link
        except OSError:
            link.close()
        if process.poll() is not None:
            raise GuestError(f"{what} ended with {process.returncode} at start:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise GuestError(f"{what} did not open {path} within {limit} s:\n{_tail(log)}")
        time.sleep(0.02)


def _stop(process, patience=3):
    """SIGTERM, then SIGKILL. Returns the exit code, None if it cannot be killed."""
    if process is None:
        return None
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                return None
    return process.returncode


class Qmp:
    """A QMP client: call(), events."""

    def __init__(self, link):
        self.link, self.buffer, self.events, self.number = link, b"", [], 0
        self._read(time.monotonic() + 20)
        self.call("qmp_capabilities")

    def _read(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestError("QEMU's monitor does not answer")
            self.link.settimeout(left)
            try:
                data = self.link.recv(65536)
            except socket.timeout:
                continue
            except OSError as error:
                raise GuestError(f"QEMU's monitor is gone: {error}") from error
            if not data:
                raise GuestError("QEMU's monitor is gone")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def call(self, command, timeout=20, **arguments):
        self.number += 1
        request = {"execute": command, "arguments": arguments, "id": self.number}
        try:
            self.link.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise GuestError(f"QEMU's monitor is gone: {error}") from error
        deadline = time.monotonic() + timeout
        while True:
            reply = self._read(deadline)
            if "event" in reply:
                self.events.append(reply)
            elif reply.get("id") == self.number:
                if "error" in reply:
                    raise GuestError(f"QMP {command}: {reply['error'].get('desc')}")
                return reply.get("return")

    def wait_event(self, name, timeout=20):
        """The next event of that name since the last call of this; events are kept in self.events."""
        deadline = time.monotonic() + timeout
        while True:
            for at, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(at)
            reply = self._read(deadline)
            if "event" in reply:
                self.events.append(reply)


class Device:
    """Our program as a device: Device().qemu_arguments("gpu") is what Machine wants as `gpu`.

    program: default $PVGPU_BUILD/pvgpu, or build/pvgpu. arguments: more options for it. transport: "vhost-user", or
    "vfio-user" for the front ends "vfio" (behind a root port, so on q35) and "vfio-bus" (on the machine's first bus).
    """

    FRONT_ENDS = {
        "gpu": "vhost-user-gpu-pci,chardev=pvgpu,id=gpu",
        "vga": "vhost-user-vga,chardev=pvgpu,id=gpu",
        "test": "vhost-user-test-device-pci,chardev=pvgpu,id=gpu,virtio-id=16,num_vqs=2,vq_size=256,config_size=20",
    }

    def __init__(self, program=None, arguments=(), directory=None, environment=None, transport="vhost-user"):
        build = pathlib.Path(os.environ.get("PVGPU_BUILD") or TOP / "build")
        self.program = pathlib.Path(program or build / "pvgpu")
        self._own = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="pvgpu-device-", dir="/tmp"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket_path = self.directory / f"{transport}.sock"
        self.control_path = self.directory / "control.sock"
        self.log = self.directory / "pvgpu.log"
        # Of an earlier device in this directory; waiting for the new one looks at its existence.
        self.socket_path.unlink(missing_ok=True)
        self.returncode = None
        command = [*CONFINED, str(self.program), transport, f"--socket-path={self.socket_path}",
                   f"--control={self.control_path}", *arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **(environment or {})})
        _alive.add(self)
        deadline = time.monotonic() + 20
        while not self.socket_path.exists():
            if self.process.poll() is not None:
                raise GuestError(f"{' '.join(command)} ended with {self.process.returncode}:\n{_tail(self.log)}")
            if time.monotonic() > deadline:
                self.close()
                raise GuestError(f"{self.program} made no socket:\n{_tail(self.log)}")
            time.sleep(0.02)

    def qemu_arguments(self, front_end="gpu", options=""):
        """options: further properties of the device, as in "max_outputs=2"."""
        if front_end in ("vfio", "vfio-bus"):
            device = {"driver": "vfio-user-pci", "id": "gpu", "socket": {"type": "unix", "path": str(self.socket_path)}}
            port = ["-device", "pcie-root-port,id=pvgpu-port,slot=16"] if front_end == "vfio" else []
            return [*port, "-device", json.dumps(device | ({"bus": "pvgpu-port"} if port else {}))]
        device = self.FRONT_ENDS[front_end] + ("," + options if options else "")
        return ["-chardev", f"socket,id=pvgpu,path={self.socket_path}", "-device", device]

    def uml_arguments(self):
        """What UserModeMachine wants as `gpu`."""
        return [f"virtio_uml.device={self.socket_path}:16"]

    def control(self, *arguments, timeout=20):
        """Runs `pvgpu VERB --control=... ARGUMENTS` and returns its standard output."""
        verb, *rest = arguments
        result = subprocess.run([str(self.program), verb, f"--control={self.control_path}", *map(str, rest)],
                                capture_output=True, text=True, timeout=timeout, check=False)
        if result.returncode:
            raise GuestError(f"pvgpu {' '.join(map(str, arguments))}: exit code {result.returncode}: {result.stderr}")
        return result.stdout

    def status(self):
        return json.loads(self.control("status", "--json"))

    def screenshot(self, path=None, scanout=0):
        """The picture on a scanout, from our own display code."""
        target = pathlib.Path(path or self.directory / "screenshot.png")
        self.control("screenshot", f"--scanout={scanout}", "-o", target)
        return read_image(target)

    def close(self):
        """SIGTERM; returns the exit code (0 is a clean one)."""
        self.returncode = _stop(self.process)
        _alive.discard(self)
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)
        return self.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Job:
    """A command that runs in the guest."""

    def __init__(self, machine, number, limit):
        self.machine, self.number, self.limit = machine, number, limit

    def wait(self, timeout=None):
        """Its Result. Raises GuestError if the guest restarted meanwhile or QEMU ended."""
        machine, deadline = self.machine, time.monotonic() + (timeout or self.limit + 20)
        with machine._condition:
            while self.number not in machine._done:
                if self.number not in machine._running:
                    raise GuestError(f"the guest restarted while a command ran\n{machine.logs()}")
                if machine._ended:
                    raise GuestError(f"QEMU ended while a command ran in the guest\n{machine.logs()}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise GuestError(f"the guest does not answer\n{machine.logs()}")
                machine._condition.wait(min(left, 1))
            code = machine._done.pop(self.number)
        return Result(code, *(self._output(kind) for kind in ("out", "err")))

    def running(self):
        with self.machine._condition:
            return self.number in self.machine._running

    def output(self):
        """What it wrote to its standard output so far."""
        return self._output("out")

    def _output(self, kind):
        try:
            return (self.machine.share / f"{self.number}.{kind}").read_text(errors="replace")
        except FileNotFoundError:
            return ""


class Machine:
    """A guest in QEMU.

    gpu         arguments of QEMU for the device, as Device.qemu_arguments gives; default QEMU's own virtio-gpu-pci
    display     QEMU's -display
    qemu        "11" (the environment's) or "7.2" (from a Debian 12 root, made on first use)
    board       QEMU's -machine: "q35" or "pc"
    memory_mib, cpus
    kernel      more words for the guest's kernel command line
    extra       more arguments of QEMU
    directory   where sockets, logs and the share are; default a temporary one that goes with the machine

    The directory `share` is /host in the guest. All that is started is ended by close(), which the `with` statement, an
    exception in __init__ and the end of this process call; a SIGKILL of this process ends QEMU too.
    """

    def __init__(self, gpu=None, display="none", qemu="11", memory_mib=2048, cpus=2, kernel="", extra=(), directory=None,
                 boot_timeout=120, release=RELEASES[0], board="q35"):
        self._own = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="pvgpu-vm-", dir="/tmp"))
        self.share = self.directory / "share"
        self.share.mkdir(parents=True, exist_ok=True)
        self.serial_log, self.qemu_log = self.directory / "serial.log", self.directory / "qemu.log"
        self.kvm = qemu == "11" and kvm_works()
        self.process = self.qmp = self._agent = None
        self._condition = threading.Condition()
        self._running, self._done, self._boots, self._ended, self._number = set(), {}, 0, False, 0
        self.boot_seconds = self.guest_seconds = None
        self.x_display = None
        command = self._command(gpu, display, qemu, board, memory_mib, cpus, kernel, extra, guest_image(release))
        start = time.monotonic()
        try:
            self._launch(command)
            threading.Thread(target=self._listen, daemon=True).start()
            self.wait_boot(1, boot_timeout)
        except GuestError as error:
            logs = self.logs()
            self.close()
            raise error if logs in str(error) else GuestError(f"{error}\n{logs}") from error
        except BaseException:
            self.close()
            raise
        self.boot_seconds = time.monotonic() - start

    def _launch(self, command):
        for name in ("agent.sock", "qmp.sock"):
            (self.directory / name).unlink(missing_ok=True)
        with open(self.qemu_log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _alive.add(self)
        self._agent = _connect(self.directory / "agent.sock", self.process, "QEMU", self.qemu_log)
        self.qmp = Qmp(_connect(self.directory / "qmp.sock", self.process, "QEMU", self.qemu_log))

    def _command(self, gpu, display, qemu, board, memory_mib, cpus, kernel, extra, image):
        if qemu == "7.2":
            program = [str(TOP / "run"), "shell", "--root", "qemu72", "--", "qemu-system-x86_64"]
            # Made beforehand, with its progress on the terminal.
            if subprocess.run([*program, "--version"], stdout=subprocess.DEVNULL, check=False).returncode:
                raise GuestError("the root with QEMU 7.2 could not be made")
            # Its vhost-user devices want KVM; see the script.
            script = str(pathlib.Path(__file__).with_name("qemu72.gdb"))
            if any("vhost-user" in word for word in gpu or ()):
                program[-1:] = ["gdb", "-q", "-nx", "-batch", "-x", script, "--args", program[-1]]
        elif qemu == "11":
            program = ["qemu-system-x86_64"]
        else:
            raise ValueError("qemu is '11' or '7.2'")
        words = ("console=ttyS0 quiet loglevel=4 mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on "
                 f"audit=0 panic=-1 {kernel}").strip()
        accelerator = (["-accel", "kvm", "-cpu", "host"] if self.kvm
                       else ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"])
        return [
            *CONFINED, *program, "-name", "pvgpu-guest", "-nodefaults", "-no-user-config",
            "-object", f"memory-backend-memfd,id=memory,size={memory_mib}M,share=on",
            "-machine", f"{board},memory-backend=memory", *accelerator, "-smp", str(cpus), "-m", str(memory_mib),
            "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append", words,
            "-drive", f"if=none,id=root,file={image}/root.erofs,format=raw,readonly=on",
            "-device", "virtio-blk-pci,drive=root",
            "-virtfs", f"local,path={self.share},mount_tag=host,security_model=none",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.directory}/agent.sock,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=pvgpu",
            "-qmp", f"unix:{self.directory}/qmp.sock,server=on,wait=off",
            "-serial", f"file:{self.serial_log}", "-display", display,
            *(["-device", "virtio-gpu-pci,id=gpu"] if gpu is None else gpu), *extra]

    def _listen(self):
        """Thread: takes the lines of guest-init."""
        buffer = b""
        while True:
            try:
                data = self._agent.recv(4096)
            except OSError:
                data = b""
            with self._condition:
                if not data:
                    self._ended = True
                    self._condition.notify_all()
                    return
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    self._take(line.decode(errors="replace").split())
                self._condition.notify_all()

    def _take(self, words):
        match words:
            case ["up", seconds]:
                self.guest_seconds = float(seconds)
                self._boots += 1
                self.x_display = None
                self._running.clear()
            case ["done", number, code] if int(number) in self._running:
                self._running.discard(int(number))
                self._done[int(number)] = int(code)

    @property
    def processor(self):
        """What runs the guest's code."""
        return "KVM" if self.kvm else "TCG"

    @property
    def boots(self):
        """How often the guest came up."""
        with self._condition:
            return self._boots

    def wait_boot(self, count, timeout=120):
        """Waits until the guest has come up `count` times since QEMU started."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while self._boots < count:
                if self._ended or self.process.poll() is not None:
                    raise GuestError(f"QEMU ended before the guest was up\n{self.logs()}")
                if time.monotonic() > deadline:
                    raise GuestError(f"the guest was not up within {timeout} s\n{self.logs()}")
                self._condition.wait(0.2)

    def start(self, command, timeout=60, environment=None):
        """Starts a shell command in the guest and returns a Job. It is killed after `timeout` seconds of the guest's time."""
        with self._condition:
            self._number += 1
            number = self._number
        variables = {**({"DISPLAY": self.x_display} if self.x_display else {}), **(environment or {})}
        script = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()) + command + "\n"
        (self.share / f"{number}.sh").write_text(script)
        with self._condition:
            self._running.add(number)
        try:
            self._agent.sendall(f"run {number} {timeout}\n".encode())
        except OSError as error:
            raise GuestError(f"QEMU is gone\n{self.logs()}") from error
        return Job(self, number, timeout)

    def run(self, command, timeout=60, environment=None):
        """Runs a shell command in the guest and returns its Result."""
        return self.start(command, timeout, environment).wait()

    def check(self, command, timeout=60, environment=None):
        """As run(), for a command that must succeed; returns its standard output."""
        result = self.run(command, timeout, environment)
        if result.returncode:
            raise GuestError(f"in the guest: {command}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def install(self, *programs):
        """Copies programs of ours to /host, from where the guest runs them: returns their paths there."""
        for program in programs:
            shutil.copy(program, self.share)
        return [f"/host/{pathlib.Path(program).name}" for program in programs]

    def start_x(self, arguments="", timeout=300):
        """Starts X on the first display device if it does not run; commands started from now on find it through DISPLAY."""
        self.check(f"start-x {arguments}", timeout)
        self.x_display = ":0"

    def stop_x(self):
        self._stop_server("/run/x-pid")
        self.x_display = None

    def start_weston(self, timeout=300):
        """Starts weston on the first display device; its clients find it by themselves."""
        self.check("start-weston", timeout)

    def stop_weston(self):
        self._stop_server("/run/weston-pid")

    def _stop_server(self, pid_file):
        self.check(f"pid=$(cat {pid_file}); kill $pid; while readlink /proc/$pid/exe >/dev/null; do sleep 0.1; done; "
                   f"rm {pid_file}", 120)

    def x_screenshot(self, path=None):
        """The X screen as the guest sees it."""
        self.check("xwd -silent -root -out /host/screen.xwd", 60)
        picture = read_image(self.share / "screen.xwd")
        if path:
            picture.write_png(path)
        return picture

    def screendump(self, path=None, device=None, head=0):
        """The picture on QEMU's console for a device (by id)."""
        target = self.directory / "screendump.ppm"
        where = {"device": device, "head": head} if device else {}
        self.qmp.call("screendump", filename=str(target), **where)
        picture = read_image(target)
        if path:
            picture.write_png(path)
        return picture

    def reset(self, timeout=120):
        """Presses the reset button and waits until the guest is up again."""
        boots = self.boots
        self.qmp.call("system_reset")
        self.wait_boot(boots + 1, timeout)

    def reboot(self, timeout=120):
        """Lets the guest's kernel reboot, and waits until it is up again."""
        boots = self.boots
        self.start("sync; reboot -f || echo b >/proc/sysrq-trigger")
        self.wait_boot(boots + 1, timeout)

    def cpu_seconds(self):
        """Processor time QEMU has used so far."""
        return process_cpu_seconds(self.process.pid)

    def serial(self):
        """What the guest wrote to its serial console."""
        try:
            return self.serial_log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def logs(self):
        return f"--- QEMU ---\n{_tail(self.qemu_log)}\n--- serial console ---\n{_tail(self.serial_log)}"

    def close(self):
        if self._agent:
            self._agent.close()
        if self.qmp:
            self.qmp.link.close()
        _stop(self.process)
        _alive.discard(self)
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def uml_kernel(make=True):
    """The User-Mode-Linux kernel. Made if it is not there, which takes minutes; with make=False None is returned then."""
    result = subprocess.run([TOP / "guest/build-uml", *([] if make else ["--if-there"])], stdout=subprocess.PIPE, text=True,
                            check=False)
    if result.returncode and make:
        raise GuestError("the User-Mode-Linux kernel could not be made")
    return None if result.returncode else pathlib.Path(result.stdout.strip())


class UserModeMachine(Machine):
    """The same guest with a kernel that is a program of the host (User-Mode Linux): its processor is the host's, its devices
    are vhost-user ones without a VMM between. No window for blobs, no QMP, no restart; one processor.

    gpu: as Device.uml_arguments() gives.
    """

    def __init__(self, gpu=(), memory_mib=2048, kernel="", directory=None, boot_timeout=60, release=RELEASES[0]):
        super().__init__(gpu, memory_mib=memory_mib, cpus=1, kernel=kernel, directory=directory, boot_timeout=boot_timeout,
                         release=release)

    @property
    def processor(self):
        return "User-Mode Linux"

    def _command(self, gpu, display, qemu, board, memory_mib, cpus, kernel, extra, image):
        # Of several processors it makes more than one only in a slower mode.
        return [*CONFINED, str(uml_kernel()), f"mem={memory_mib}M", f"initrd={image}/initrd.img", f"ubd0rc={image}/root.erofs",
                "pv.root=/dev/ubda", f"pv.share={self.share}", "pv.port=/dev/ttyS1", "seccomp=auto", "panic=-1", "quiet",
                "loglevel=4", "con=null", "con0=null,fd:1", "ssl=null", f"umid=pvgpu-{os.getpid()}-{id(self):x}",
                f"uml_dir={self.directory}/", *gpu, *kernel.split()]

    def _launch(self, command):
        self._agent, its = socket.socketpair()
        with its, open(self.serial_log, "wb") as serial, open(self.qemu_log, "wb") as log:
            self.process = subprocess.Popen([*command, f"ssl1=fd:{its.fileno()},fd:{its.fileno()}"], stdin=subprocess.DEVNULL,
                                            stdout=serial, stderr=log, pass_fds=[its.fileno()])
        _alive.add(self)


def process_cpu_seconds(pid):
    """User and system time of a process and its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_peak_kib(pid):
    """The most memory a process had resident."""
    return int(re.search(r"^VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


# A SIGTERM shall run atexit handlers too.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
