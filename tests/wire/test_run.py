# SPDX-License-Identifier: MIT
"""pvgpu run on QEMUs that are none: what it makes of their answers, and that it, they and the device end together."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from wirelib.process import PATIENCE, poll, program

ALL_DEVICES = "vfio-user-pci vhost-user-test-device-pci vhost-user-gpu-pci"
FAKE = """#!{python}
import json, os, re, signal, socket, sys, time
words, answers = sys.argv[1:], json.load(open(__file__ + ".json"))
for question in ("--version", "-help"):
    if words[:1] == [question]:
        print(answers[question])
        sys.exit(0)
if words[-1:] == ["help"]:
    print(answers[words[-2]])
    sys.exit(0)
if "isa-debug-exit,iobase=0xf4,iosize=1" in words and "kvm" in words:
    sys.exit(85 if answers["kvm"] else 1)
json.dump(words, open(__file__ + ".words", "w"))
link = None
path = re.search(r'[^"=,]*/run-[0-9]+[.]vmm', " ".join(words))
if answers["connect"]:
    link = socket.socket(socket.AF_UNIX)
    link.connect(path.group(0))
def on_signal(number, _):
    open(__file__ + ".signal", "w").write(str(number))
    if answers["stubborn"]:
        return
    sys.exit(answers["code"])
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, on_signal)
open(__file__ + ".ready", "w").write(str(os.getpid()))
if answers["goes"]:
    sys.exit(answers["code"])
while True:
    time.sleep(0.05)
    if answers["leaves"] and link:
        link.close()
        link = None
"""


class FakeQemu:
    """A program that answers as a QEMU with these devices does."""

    def __init__(self, lab, name="qemu-system-x86_64", version="11.1.3", devices=ALL_DEVICES, **more):
        self.path = lab.path(name)
        self.path.write_text(FAKE.replace("{python}", sys.executable))
        self.path.chmod(0o755)
        answers = {
            "--version": f"QEMU emulator version {version} (Some Linux 1:{version}+dfsg-1)\nCopyright (c) 2003-2026",
            "-help": "-run-with [async-teardown=on|off][,exit-with-parent=on|off]\n",
            "-device": "Display devices:\n" + "".join(f'name "{device}", bus PCI\n' for device in devices.split()),
            "-object": "List of user creatable objects:\n  memory-backend-file\n  memory-backend-memfd\n  memory-backend-shm",
            "-display": "Available display backend types:\nnone\ngtk\nsdl\ndbus\n",
            "kvm": False, "connect": True, "stubborn": False, "goes": False, "leaves": False, "code": 0, **more}
        (lab.directory / f"{name}.json").write_text(json.dumps(answers))
        self.words_path, self.ready_path, self.signal_path = (lab.directory / f"{name}.{kind}"
                                                              for kind in ("words", "ready", "signal"))


@pytest.fixture
def run(lab, monkeypatch):
    """Runs pvgpu run on an image: (exit code, standard output, standard error)."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lab.directory))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (lab.directory / "disk").write_bytes(bytes(1024))

    def call(qemu, *arguments, image="disk", dry=True):
        more = ["--dry-run"] if dry else []
        words = [program(), "run", *([str(lab.directory / image)] if image else []), *more, f"--qemu={qemu.path}", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
        return done.returncode, done.stdout, done.stderr
    yield call
    subprocess.run(["rm", "-rf", str(lab.directory / "pvgpu")], check=True)
    for path in lab.directory.glob("*"):
        if path.is_dir():
            subprocess.run(["rm", "-rf", str(path)], check=True)


def commands(output):
    """The words of the device's command and of QEMU's, as a shell reads them."""
    device, qemu = output.split("# The guest:\n")
    assert device.startswith("# The device:\n")
    read = [shlex.split(text.replace("\\\n", " ")) for text in (device.partition("\n")[2], qemu)]
    return read[0], read[1]


def value_of(words, option):
    return words[words.index(option) + 1]


TRANSPORTS = [
    (ALL_DEVICES, "11.1.0", "vfio-user", "vfio-user-pci"),
    ("vhost-user-test-device-pci vhost-user-gpu-pci", "11.1.0", "vhost-user", "vhost-user-test-device-pci"),
    # Before 11.1 that device has no window.
    ("vhost-user-test-device-pci vhost-user-gpu-pci", "11.0.2", "vhost-user", "vhost-user-gpu-pci"),
    ("vhost-user-gpu-pci vhost-user-vga", "7.2.11", "vhost-user", "vhost-user-gpu-pci"),
]


@pytest.mark.parametrize("devices,version,verb,device", TRANSPORTS)
def test_takes_the_best_device(lab, run, devices, version, verb, device):
    code, out, errors = run(FakeQemu(lab, devices=devices, version=version), "--renderer=2d")
    assert code == 0, errors
    ours, qemu = commands(out)
    assert ours[1] == verb
    named = [word for word in qemu if word.startswith((f"{device},", f'{{"driver":"{device}"'))]
    assert len(named) == 1
    path = next(word for word in ours if word.startswith("--socket-path=")).partition("=")[2]
    assert any(path in word for word in qemu)
    if device == "vhost-user-test-device-pci":
        assert "virtio-id=16" in named[0] and "config_size=20" in named[0]
    assert "share=on" in value_of(qemu, "-object") and "memory-backend=memory" in value_of(qemu, "-machine")


def test_transport_can_be_chosen(lab, run):
    qemu = FakeQemu(lab)
    _, words = commands(run(qemu, "--transport=vhost-user-gpu")[1])
    assert any(word.startswith("vhost-user-gpu-pci,") for word in words)
    assert value_of(words, "-display") == "none"
    code, _, errors = run(FakeQemu(lab, devices="vhost-user-gpu-pci"), "--transport=vfio-user")
    assert code == 1 and "has no vfio-user-pci" in errors and "11.1" in errors


def test_gives_what_the_host_has(lab, run, monkeypatch):
    def renderers(*arguments):
        code, out, errors = run(FakeQemu(lab), *arguments)
        assert code == 0, errors
        return value_of([word for name in commands(out)[0] for word in name.split("=", 1)], "--renderer"), errors
    listed = json.loads(lab.run("devices", "--json")[1])
    vulkan, opengl = listed["chosen"] is not None, "opengl" in listed
    everything, _ = renderers()
    assert everything == ",".join(["2d", *["venus"] * vulkan, *["virgl"] * opengl])
    # Through QEMU's own vhost-user GPU there is no way for Vulkan.
    assert renderers("--transport=vhost-user-gpu")[0] == ("2d,virgl" if opengl else "2d")
    monkeypatch.setenv("VK_DRIVER_FILES", "/nonexistent")
    chosen, errors = renderers()
    assert "venus" not in chosen and "no Vulkan" in errors


def test_no_device_at_all(lab, run):
    code, out, errors = run(FakeQemu(lab, devices="virtio-gpu-pci"))
    assert code == 1 and not out
    assert "vfio-user-pci" in errors and "QEMU 11.1" in errors


def test_window_of_the_desktop(lab, run, monkeypatch):
    qemu = FakeQemu(lab, devices="vhost-user-gpu-pci")
    monkeypatch.setenv("DISPLAY", ":7")
    assert value_of(commands(run(qemu)[1])[1], "-display") == "gtk,gl=on"
    assert value_of(commands(run(qemu, "--display=sdl")[1])[1], "-display") == "sdl,gl=on"
    # QEMU would show an empty window.
    code, _, errors = run(FakeQemu(lab), "--display=gtk")
    assert code == 1 and "pvgpu screenshot" in errors


def test_window_without_copies(lab, run):
    qemu = FakeQemu(lab)
    code, out, errors = run(qemu, "--transport=vhost-user-gpu", "--display=gtk", "--dma-buf")
    assert code == 0, errors
    assert "--dma-buf" in commands(out)[0]
    for arguments in ((), ("--transport=vhost-user-gpu",)):
        code, out, errors = run(qemu, "--dma-buf", *arguments)
        assert code == 1 and not out and "--display=gtk" in errors


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_accelerator(lab, run, accel):
    _, out, _ = run(FakeQemu(lab), f"--accel={accel}")
    words = commands(out)[1]
    assert value_of(words, "-accel").split(",")[0] == accel
    assert value_of(words, "-cpu") == {"kvm": "host", "tcg": "max"}[accel]


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no /dev/kvm")
@pytest.mark.parametrize("works", [True, False])
def test_accelerator_is_tried(lab, run, works):
    _, out, errors = run(FakeQemu(lab, kvm=works))
    assert value_of(commands(out)[1], "-accel").split(",")[0] == ("kvm" if works else "tcg")
    assert ("emulated" in errors) == (not works)


def test_no_memfd(lab, run):
    shm = FakeQemu(lab, **{"-object": "  memory-backend-ram\n  memory-backend-shm\n"})
    assert value_of(commands(run(shm)[1])[1], "-object").startswith("memory-backend-shm,")
    code, _, errors = run(FakeQemu(lab, **{"-object": "  memory-backend-ram\n"}))
    assert code == 1 and "share" in errors


def test_old_qemu_is_not_told_to_end_with_us(lab, run):
    assert "-run-with" in commands(run(FakeQemu(lab))[1])[1]
    assert "-run-with" not in commands(run(FakeQemu(lab, **{"-help": "-run-with [chroot=dir]"}))[1])[1]


def test_arm(lab, run):
    qemu = FakeQemu(lab, name="qemu-system-aarch64")
    words = commands(run(qemu)[1])[1]
    assert value_of(words, "-machine").startswith("virt,") and value_of(words, "-bios").endswith(".fd")
    assert value_of(words, "-accel").startswith("tcg")


IMAGES = [(b"QFI\xfb" + bytes(600), "qcow2"), (b"KDMV" + bytes(600), "vmdk"), (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(600), "vdi"),
          (b"vhdxfile" + bytes(600), "vhdx"), (bytes(1024), "raw"), (b"", "raw"), (bytes(510) + b"\x55\xaa", "raw")]


@pytest.mark.parametrize("content,image_format", IMAGES)
def test_image_format(lab, run, content, image_format):
    (lab.directory / "a,b disk").write_bytes(content)
    drive = value_of(commands(run(FakeQemu(lab), image="a,b disk")[1])[1], "-drive")
    assert f"format={image_format}," in drive and drive.endswith("/a,,b disk")


def test_cd(lab, run):
    (lab.directory / "cd.iso").write_bytes(bytes(32768) + b"\x01CD001\x01" + bytes(2041))
    words = commands(run(FakeQemu(lab), image="cd.iso")[1])[1]
    assert "media=cdrom,readonly=on" in value_of(words, "-drive") and "scsi-cd,drive=disk,bootindex=1" in words


def test_snapshot(lab, run):
    assert value_of(commands(run(FakeQemu(lab), "--snapshot")[1])[1], "-drive").endswith(",snapshot=on")


def test_directory(lab, run):
    boot = lab.directory / "root/boot"
    boot.mkdir(parents=True)
    code, _, errors = run(FakeQemu(lab), image="root")
    assert code == 1 and "no vmlinuz" in errors and "--kernel" in errors
    for name in ("vmlinuz-6.9.12", "vmlinuz-6.12.3", "initrd.img-6.9.12", "initrd.img-6.12.3"):
        (boot / name).write_bytes(b"x")
    words = commands(run(FakeQemu(lab), "--append=quiet splash", image="root")[1])[1]
    assert value_of(words, "-kernel").endswith("/boot/vmlinuz-6.12.3")
    assert value_of(words, "-initrd").endswith("/boot/initrd.img-6.12.3")
    append = value_of(words, "-append").split()
    assert "rootfstype=9p" in append and "rw" in append and append[-2:] == ["quiet", "splash"]
    assert "mount_tag=root" in " ".join(words) and f"path={lab.directory}/root" in value_of(words, "-fsdev")
    words = commands(run(FakeQemu(lab), "--snapshot", image="root")[1])[1]
    assert "ro" in value_of(words, "-append").split() and value_of(words, "-fsdev").endswith("readonly=on")


def test_kernel_alone_and_extra_words(lab, run):
    (lab.directory / "kernel").write_bytes(b"x")
    code, out, errors = run(FakeQemu(lab), f"--kernel={lab.directory}/kernel", "-m", "512", "--smp=3", "--ssh=2222", "--",
                            "-s", "--help", image=None)
    assert code == 0, errors
    words = commands(out)[1]
    assert words[-2:] == ["-s", "--help"]
    assert value_of(words, "-m") == "512M" and value_of(words, "-smp") == "3"
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in value_of(words, "-netdev") and "-drive" not in words


def test_device_options_are_passed_on(lab, run):
    device, _ = commands(run(FakeQemu(lab), "--size=800x600", "--window", "512M", "--device=llvmpipe", "--renderer=2d,venus",
                             "--name=work", "--renderer-in-process", "--display=png=/tmp/x.png")[1])
    assert {"--size=800x600", "--window=512M", "--device=llvmpipe", "--renderer=2d,venus", "--name=work", "--renderer-in-process",
            "--display=png=/tmp/x.png", "--log-level=warning"} <= set(device)


WRONG = [
    ([], "say what to boot"), (["--memory=1G"], "say what to boot"), (["/nonexistent"], "No such file"),
    (["{disk}", "{disk}"], "booted already"), (["{disk}", "--initrd=/x"], "needs --kernel"), (["--kernel=/nonexistent"], "No such file"),
    (["{disk}", "--memory=3"], "64M"), (["{disk}", "--memory=99999999999999999999"], "64M"), (["{disk}", "--smp=0"], "1024"),
    (["{disk}", "--ssh=99999"], "port"), (["{disk}", "--ssh=22", "--no-network"], "network"), (["{disk}", "--accel=warp"], "kvm"),
    (["{disk}", "--transport=ftp"], "vfio-user"), (["{disk}", "--display=crt"], "cocoa"), (["{disk}", "--nonsense"], "no option"),
    (["{disk}", "--transport=vhost-user-gpu", "--renderer=venus"], "no Vulkan"), (["{disk}", "--qemu=/nonexistent"], "--qemu=PROGRAM"),
    (["{disk}", "--qemu=/bin/cat"], "which QEMU"), (["{disk}", "--qemu=/bin/false"], "--qemu=PROGRAM"),
]


@pytest.mark.parametrize("arguments,said", WRONG)
def test_wrong_command_lines(lab, run, arguments, said):
    code, out, errors = lab.run("run", *(word.format(disk=lab.directory / "disk") for word in arguments))
    assert code in (1, 2) and not out
    lines = errors.splitlines()
    assert said in errors and all(line.startswith("pvgpu: ") for line in lines[:1]), errors


# ---- Ends ----

class Started:
    """pvgpu run in the background."""

    def __init__(self, lab, qemu, *arguments):
        self.qemu, self.lab = qemu, lab
        self.log = open(lab.directory / "log", "w+")
        self.popen = subprocess.Popen([program(), "run", str(lab.directory / "disk"), f"--qemu={qemu.path}", "--renderer=2d",
                                       "--accel=tcg", "--control=none", *arguments], stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log)
        poll(lambda: qemu.ready_path.exists() and qemu.ready_path.read_text(), "QEMU is started")
        self.qemu_pid = int(qemu.ready_path.read_text())
        self.device_pid = next((pid for pid in children(self.popen.pid) if pid != self.qemu_pid), None)

    def ends(self):
        code = self.popen.wait(PATIENCE)
        for pid in (self.qemu_pid, self.device_pid):
            assert not pid or not is_running(pid), f"{pid} goes on"
        assert not list(self.lab.directory.glob("pvgpu/*")), "its socket is left"
        self.log.seek(0)
        return code, self.log.read()


def children(pid):
    return [int(child) for task in os.listdir(f"/proc/{pid}/task")
            for child in open(f"/proc/{pid}/task/{task}/children").read().split()]


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("code", [0, 7])
def test_exit_status_is_qemus(lab, run, code):
    assert run(FakeQemu(lab, goes=True, code=code), "--renderer=2d", "--accel=tcg", "--control=none", dry=False)[0] == code


def test_qemu_that_never_connects(lab, run):
    """The device waits for it in vain."""
    began = time.monotonic()
    assert run(FakeQemu(lab, goes=True, connect=False, code=3), "--renderer=2d", "--accel=tcg", "--control=none", dry=False)[0] == 3
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(lab, run, number):
    started = Started(lab, FakeQemu(lab, code=5))
    assert started.device_pid
    started.popen.send_signal(number)
    assert started.ends()[0] == 5
    assert int(started.qemu.signal_path.read_text()) == number


def test_device_is_out_of_reach_of_the_terminal(lab, run):
    """A ^C must reach QEMU first."""
    started = Started(lab, FakeQemu(lab))
    assert os.getpgid(started.device_pid) == started.device_pid
    assert os.getpgid(started.qemu_pid) == os.getpgid(started.popen.pid)
    started.popen.terminate()
    started.ends()


def test_stubborn_qemu_is_killed(lab, run):
    started = Started(lab, FakeQemu(lab, stubborn=True))
    started.popen.terminate()
    assert started.ends()[0] == 128 + signal.SIGKILL


def test_device_that_dies_takes_qemu_along(lab, run):
    started = Started(lab, FakeQemu(lab))
    os.kill(started.device_pid, signal.SIGKILL)
    code, log = started.ends()
    assert code == 1 and "ended by signal 9" in log
    assert int(started.qemu.signal_path.read_text()) == signal.SIGTERM


def test_device_that_cannot_start(lab, run):
    code, _, errors = run(FakeQemu(lab), "--renderer=2d", "--accel=tcg", "--control=none", "--size=nonsense", dry=False)
    assert code == 1 and "--size=nonsense" in errors


def test_device_that_was_left(lab, run):
    """QEMU has closed its connection and goes on: it is ended."""
    started = Started(lab, FakeQemu(lab, leaves=True))
    code, log = started.ends()
    assert code == 1 and "QEMU has not" in log
