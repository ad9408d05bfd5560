# SPDX-License-Identifier: MIT
"""The command line and the control socket: screenshots, status, resizing, and what VMMs expect of such a program."""

import json
import os
import socket
import struct

import pytest

from wirelib import gpu, vhost_user as vu
from wirelib.console import Console
from wirelib.control import Control
from wirelib.machine import MIB
from wirelib.png import Picture
from wirelib.process import poll


@pytest.fixture
def screen(lab):
    """A machine with a picture on its screen, and the path of its control socket."""
    path = lab.path("control.sock")
    machine = lab.machine(f"--control={path}")
    data, colours = gpu.pattern("B8G8R8X8", 80, 60)
    resource, _ = machine.picture(80, 60, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 80, 60)))
    machine.must(gpu.flush(resource, (0, 0, 80, 60)))
    machine.resource, machine.colours, machine.control_path = resource, colours, path
    return machine


def test_screenshot_command(lab, screen):
    out = lab.path("shot.png")
    code, _, errors = lab.run("screenshot", "-o", out, f"--control={screen.control_path}")
    assert code == 0, errors
    picture = Picture(out.read_bytes())
    assert (picture.width, picture.height) == (80, 60)
    assert picture.pixels() == screen.colours


def test_screenshot_to_stdout(lab, screen):
    code, out, errors = lab.run("screenshot", "-o", "-", f"--control={screen.control_path}")
    assert code == 0, errors
    assert Picture(out).pixels() == screen.colours


@pytest.mark.parametrize("name", sorted(gpu.FORMATS))
def test_screenshot_of_each_format(lab, name):
    path = lab.path("control.sock")
    machine = lab.machine(f"--control={path}")
    data, colours = gpu.pattern(name, 21, 13)
    resource, _ = machine.picture(21, 13, name, data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 21, 13)))
    machine.must(gpu.flush(resource, (0, 0, 21, 13)))
    with Control(path) as control:
        assert Picture(control.must("screenshot")["png"]).pixels() == colours


def test_screenshot_with_the_cursor_and_without(lab, screen):
    data = b"".join(gpu.pixel("B8G8R8A8", 255, 0, 0, 255 if x < 8 and y < 8 else 0) if x < 8 and y < 8 else bytes(4)
                    for y in range(64) for x in range(64))
    cursor, _ = screen.picture(64, 64, "B8G8R8A8", data)
    screen.move(gpu.update_cursor(0, 20, 10, cursor, hot_x=2, hot_y=3))
    with Control(screen.control_path) as control:
        plain = Picture(control.must("screenshot", cursor=False)["png"])
        drawn = Picture(control.must("screenshot", cursor=True)["png"])
    assert plain.pixels() == screen.colours
    red = {(x, y) for y in range(60) for x in range(80) if drawn.pixel(x, y) == (255, 0, 0)}
    assert len(red) >= 64
    changed = {(x, y) for y in range(60) for x in range(80) if drawn.pixel(x, y) != plain.pixel(x, y)}
    assert len(changed) <= 64
    columns, rows = {x for x, _ in changed}, {y for _, y in changed}
    # Either the position is the image's corner or its hot spot; both are at most the hot spot away from it.
    assert min(columns) in (18, 20) and min(rows) in (7, 10)


def test_screenshot_is_the_picture_of_the_moment(screen):
    machine = screen
    with Control(machine.control_path) as control:
        for seed in range(1, 6):
            data, colours = gpu.pattern("B8G8R8X8", 80, 60, seed)
            resource, _ = machine.picture(80, 60, data=data)
            machine.must(gpu.set_scanout(0, resource, (0, 0, 80, 60)))
            machine.must(gpu.flush(resource, (0, 0, 80, 60)))
            assert Picture(control.must("screenshot")["png"]).pixels() == colours


def test_screenshot_of_a_head_that_shows_nothing(lab):
    path = lab.path("control.sock")
    lab.machine(f"--control={path}")
    out = lab.path("none.png")
    code, _, errors = lab.run("screenshot", "-o", out, f"--control={path}")
    assert code == 1 and errors.strip()
    code, _, errors = lab.run("screenshot", "-o", out, "--scanout=7", f"--control={path}")
    assert code != 0 and errors.strip()


def test_picture_at_exit(lab):
    out = lab.path("exit.png")
    machine = lab.machine(f"--display=png={out}")
    data, colours = gpu.pattern("B8G8R8X8", 31, 7)
    resource, _ = machine.picture(31, 7, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 31, 7)))
    machine.must(gpu.flush(resource, (0, 0, 31, 7)))
    assert machine.process.terminate() == 0
    assert Picture(out.read_bytes()).pixels() == colours


def test_status(lab, screen):
    code, out, errors = lab.run("status", "--json", f"--control={screen.control_path}")
    assert code == 0, errors
    status = json.loads(out)
    text = json.dumps(status)
    assert "80" in text and "60" in text
    code, out, errors = lab.run("status", f"--control={screen.control_path}")
    assert code == 0 and b"80" in out, errors


def test_resize_reaches_the_guest(lab, screen):
    """Control socket -> config change message -> events_read -> new display info -> events_clear."""
    code, _, errors = lab.run("resize", "1440x900", f"--control={screen.control_path}")
    assert code == 0, errors
    screen.back_channel.wait_for(vu.BACKEND_CONFIG_CHANGE)
    assert screen.config_fields()[0] == 1
    heads = gpu.parse_display_info(screen.must(gpu.get_display_info()))
    assert heads[0][2:5] == (1440, 900, 1)
    edid = gpu.parse_edid(screen.must(gpu.get_edid(0)))
    assert edid[56] | (edid[58] & 0xF0) << 4 == 1440
    screen.clear_events(1)
    assert screen.config_fields()[0] == 0


def test_hotplug(lab):
    path = lab.path("control.sock")
    machine = lab.machine(f"--control={path}", "--outputs=2", "--size=800x600,off")
    assert [head[4] for head in gpu.parse_display_info(machine.must(gpu.get_display_info()))][:2] == [1, 0]
    with Control(path) as control:
        control.must("set-output", output=1, width=1024, height=768, enabled=True)
        machine.back_channel.wait_for(vu.BACKEND_CONFIG_CHANGE)
        heads = gpu.parse_display_info(machine.must(gpu.get_display_info()))
        assert heads[1][2:5] == (1024, 768, 1)
        machine.clear_events(1)
        control.must("set-output", output=1, enabled=False)
        machine.back_channel.wait_for(vu.BACKEND_CONFIG_CHANGE, 2)
        assert gpu.parse_display_info(machine.must(gpu.get_display_info()))[1][4] == 0
        assert machine.config_fields()[0] == 1


def test_resize_in_a_storm(screen):
    """Many resizes while the guest works: the last one stands."""
    with Control(screen.control_path) as control:
        for n in range(100):
            control.must("set-output", output=0, width=640 + n, height=480)
            if n % 10 == 0:
                screen.is_healthy()
                screen.clear_events(1)
    assert gpu.parse_display_info(screen.must(gpu.get_display_info()))[0][2:4] == (739, 480)


@pytest.mark.parametrize("line", [
    b"", b"{}", b"[]", b"null", b"{", b'{"command":', b'{"command": 7}', b'{"command": "reboot"}', b"\xff\xfe", b"\0" * 100,
    b'{"command": "screenshot", "scanout": -1}', b'{"command": "screenshot", "scanout": 4294967296}',
    b'{"command": "screenshot", "cursor": 1}', b'{"command": "set-output", "output": 99, "width": 1}',
    b'{"command": "set-output", "output": 0, "width": 0, "height": 0}', b'{"command": "set-output", "width": 1e300}',
    b'{"command": "set-output", "output": 0, "width": 16385, "height": 16385}', b"[" * 4000, b'{"a":' * 800,
    b'{"command": "status", "command": "status", "id": {"x": [1, 2]}}', b'{"command": "\\ud800"}',
], ids=range(21))
def test_control_requests_that_make_no_sense(lab, screen, line):
    lab.hostile = True
    with Control(screen.control_path) as control:
        control.send(line + b"\n")
        if line.strip():
            reply, _ = control.receive()
            assert reply is None or reply["ok"] in (True, False)
            if reply and not reply["ok"]:
                assert reply["error"]
    with Control(screen.control_path) as control:
        control.must("status")
    screen.is_healthy()


def test_control_client_that_sends_too_much(lab, screen):
    lab.hostile = True
    with Control(screen.control_path) as control:
        try:
            control.send(b"x" * MIB)
        except (BrokenPipeError, ConnectionResetError):
            pass
        reply, _ = control.receive()
        assert reply is None or not reply["ok"]
    with Control(screen.control_path) as control:
        control.must("status")


def test_control_client_that_never_reads(screen):
    """It is its own problem: the device and other clients go on, and memory stays."""
    lazy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    lazy.connect(str(screen.control_path))
    lazy.setblocking(False)
    before = screen.process.rss_bytes()
    try:
        for _ in range(10000):
            lazy.send(b'{"command": "status"}\n' * 50)
    except BlockingIOError:
        pass
    with Control(screen.control_path) as control:
        control.must("status")
    screen.is_healthy()
    assert screen.process.rss_bytes() - before < 64 * MIB
    lazy.close()


def test_many_control_clients(screen):
    """The seventeenth waits, or takes the place of one that has been silent for long; nobody is stuck for ever."""
    fds = screen.process.fd_count()
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(40)]
    for client in clients:
        client.settimeout(5)
        client.connect(str(screen.control_path))
    screen.is_healthy()
    for client in clients:
        client.close()
    with Control(screen.control_path) as control:
        control.must("status")
    poll(lambda: screen.process.fd_count() <= fds, "the clients' fds are closed")


def test_control_client_leaves_in_the_middle(screen):
    fds = screen.process.fd_count()
    for _ in range(50):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(screen.control_path))
        client.send(b'{"command": "screenshot"}\n{"command": "stat')
        client.close()
    with Control(screen.control_path) as control:
        control.must("status")
    poll(lambda: screen.process.fd_count() <= fds, "the clients' fds are closed")


def test_screenshots_while_the_guest_draws(screen):
    data, _ = gpu.pattern("B8G8R8X8", 80, 60, 3)
    other, _ = screen.picture(80, 60, data=data)
    with Control(screen.control_path) as control:
        for n in range(30):
            resource = other if n % 2 else screen.resource
            requests = [screen.submit(command) for command in (
                gpu.set_scanout(0, resource, (0, 0, 80, 60)), gpu.flush(resource, (0, 0, 80, 60)))]
            assert Picture(control.must("screenshot")["png"]).width == 80
            screen.control.wait(requests[1])
            screen.control.finished.clear()


def test_screenshot_survives_the_resource(screen):
    screen.must(gpu.unref(screen.resource))
    with Control(screen.control_path) as control:
        reply = control.ask("screenshot")
        assert not reply["ok"] or Picture(reply["png"]).width == 80


def test_control_works_while_the_console_is_stalled(lab):
    path = lab.path("control.sock")
    console = Console()
    machine = lab.console_machine(f"--control={path}", console=console)
    resource, _ = machine.picture(640, 480)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 640, 480)))
    console.stall()
    for _ in range(10):
        machine.must(gpu.flush(resource, (0, 0, 640, 480)))
    with Control(path) as control:
        assert Picture(control.must("screenshot")["png"]).width == 640


# What QEMU and libvirt expect of a back-end program.

def test_print_capabilities(lab):
    code, out, _ = lab.run("vhost-user", "--print-capabilities")
    capabilities = json.loads(out)
    assert code == 0 and capabilities["type"] == "gpu"
    assert capabilities["features"] in (["virgl", "render-node"], [])
    assert lab.run("vhost-user", "-c")[1] == out
    # Programs look for it with other options present.
    assert lab.run("vhost-user", "--print-capabilities", "--fd=77")[0] in (0, 2)


@pytest.mark.parametrize("arguments", [
    ["vhost-user", "--socket-path=/nonexistent/dir/x.sock"], ["vhost-user", "--fd=77"], ["vhost-user", "--fd=x"],
    ["vhost-user", "--fd=-1"], ["vhost-user", "--fd=99999999999"], ["vhost-user", "--socket-path=" + "x" * 200],
    ["vhost-user", "--socket-path=/tmp/a", "--fd=3"], ["vhost-user", "--no-such-option"], ["frobnicate"],
    ["vhost-user", "--outputs=0"], ["vhost-user", "--outputs=17"], ["vhost-user", "--size=0x0"],
    ["vhost-user", "--size=1x"], ["vhost-user", "--size=99999x99999"], ["vhost-user", "--window=3M"],
    ["vhost-user", "--window=18446744073709551616"], ["vhost-user", "--max-host-memory=lots"],
    ["vhost-user", "--render-node=/dev/dri/renderD128", "--fd=0"],
    ["vhost-user", "--log-level=loud"], ["vhost-user", "--display=oil"], ["vhost-user", "--name=../x"],
    ["screenshot", "--control=/nonexistent.sock"], ["status", "--control=/nonexistent.sock"],
    ["resize", "--control=/nonexistent.sock", "1x1"], ["resize", "many"], ["screenshot", "--scanout=x"], ["status", "extra"],
], ids=" ".join)
def test_wrong_command_lines_say_what_is_wrong(lab, arguments):
    code, out, errors = lab.run(*arguments)
    assert code in (1, 2) and not out
    assert errors.strip() and "Sanitizer" not in errors


def test_help_and_version(lab):
    for arguments in (["help"], ["--help"], ["version"], ["--version"], ["vhost-user", "--help"], ["help", "screenshot"]):
        code, out, errors = lab.run(*arguments)
        assert code == 0 and out.strip(), errors


def test_socket_file_is_removed_at_the_end(lab):
    for keep in (True, False):
        path = lab.path("gone.sock")
        process = lab.start(f"--socket-path={path}", *(["--keep-listening"] if keep else []))
        poll(path.exists, "the socket appears")
        assert process.terminate() == 0
        assert not path.exists()


def test_stale_socket_is_replaced_but_nothing_else(lab):
    path = lab.path("stale.sock")
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    process = lab.start(f"--socket-path={path}")
    process.wait_for_log(lambda lines: lines, "it says that it is ready")
    code, _, errors = lab.run("vhost-user", f"--socket-path={path}", "--control=none")
    assert code == 1 and errors.strip(), "took a socket that is in use"
    assert process.terminate() == 0
    path.write_text("precious")
    code, _, _ = lab.run("vhost-user", f"--socket-path={path}", "--control=none")
    assert code == 1 and path.read_text() == "precious"


def test_listening_fd(lab):
    """A socket that was made by somebody else, as systemd does."""
    path = lab.path("inherited.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    process = lab.start(f"--fd={listener.fileno()}", pass_fds=[listener.fileno()])
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.settimeout(20)
    client.send(struct.pack("<III", vu.GET_FEATURES, 1, 0))
    assert len(client.recv(20)) == 20
    client.close()
    listener.close()
    assert process.wait() == 0


def test_name_gives_the_control_socket(lab, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lab.directory))
    path = lab.path("vhost.sock")
    process = lab.start(f"--socket-path={path}", "--name=tested")
    try:
        poll(path.exists, "the socket appears")
        poll(lambda: lab.run("status", "--json", "--name=tested")[0] == 0, "the named instance answers")
        code, out, errors = lab.run("status", "--json")
        assert code == 0, errors
        assert json.loads(out)
    finally:
        assert process.terminate() == 0
        directory = lab.directory / "pvgpu"
        assert not os.listdir(directory)
        directory.rmdir()
