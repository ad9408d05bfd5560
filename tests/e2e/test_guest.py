# SPDX-License-Identifier: MIT
"""A Linux guest on our device, front end by front end: every check looks at pixels or counters on the host's side.

The tests of one front end share a guest and run in the order of this file; the last ones end it.
"""

import pathlib
import re
import signal
import time

import pytest

from rig import picture, procs, session

FORMATS = ["XR24", "b8g8r8a8", "b8g8r8x8", "a8r8g8b8", "x8r8g8b8", "r8g8b8a8", "x8b8g8r8", "a8b8g8r8", "r8g8b8x8"]
# What our process may hold resident beyond the pictures of the guest's own surfaces.
MEMORY_LIMIT_BYTES = 30 * session.MiB
IDLE_LIMIT = 0.01


def shown_size(event):
    head = event["heads"][0] if "heads" in event else event
    return head["width"], head["height"]


def assert_shows(guest, expected, head=0):
    """The picture is on our display and, where it has one, on the VMM's console."""
    assert guest.wait_for_picture(expected, head) is None
    if guest.front_end.console and guest.device:
        assert guest.wait_for_picture(expected, head, console=True) is None, "on QEMU's console"


def hotplug(guest, change, is_seen):
    """Makes a change to the heads and returns what the guest's uevent said of them."""
    watch = guest.start(f"{guest.kmsbench} watch --seconds 60")
    try:
        watch.wait_for_event("watching")
        change()
        return watch.wait_for(lambda running: next(
            (event["heads"] for event in running.events() if event.get("hotplug") and is_seen(event["heads"])), None),
            "the hotplug event", 30)
    finally:
        watch.stop()


def resize(guest, width, height, head=0):
    if not guest.can_resize:
        pytest.skip("this QEMU has no display that can ask for another size (-display dbus)")
    return hotplug(guest, lambda: guest.resize(width, height, head),
                   lambda heads: (heads[head]["status"] == "connected" and
                                  (heads[head]["width"], heads[head]["height"]) == (width, height)))


def edid_preferred_size(edid_hex):
    """Width and height of the first detailed timing."""
    timing = bytes.fromhex(edid_hex)[54:72]
    return timing[2] | (timing[4] & 0xf0) << 4, timing[5] | (timing[7] & 0xf0) << 4


def edid_is_valid(edid_hex):
    edid = bytes.fromhex(edid_hex)
    return (len(edid) % 128 == 0 and len(edid) == 128 * (1 + edid[126]) and edid.startswith(b"\0\xff\xff\xff\xff\xff\xff\0")
            and all(sum(edid[at:at + 128]) % 256 == 0 for at in range(0, len(edid), 128)))


def test_driver_binds(guest):
    log = guest.dmesg()
    assert "Initialized virtio_gpu" in log
    assert "+edid" in log
    heads = guest.heads()
    assert heads[0]["status"] == "connected"
    assert edid_is_valid(heads[0]["edid"])
    preferred = next(mode for mode in heads[0]["modes"] if mode["preferred"])
    assert edid_preferred_size(heads[0]["edid"]) == (preferred["width"], preferred["height"])


def test_no_errors_in_logs(guest):
    assert not re.search(r"\*ERROR\*|virtio_gpu.*(failed|error|timed out)", guest.dmesg())
    if guest.device:
        log = guest.device.log.read_text(errors="replace")
        assert not re.search(r"error", log), log


def test_window_is_seen(ours):
    if not ours.front_end.has_window:
        pytest.skip("this front end carries no shared memory region")
    log = ours.dmesg()
    assert "+host_visible" in log
    size = re.search(r"Host memory window: 0x([0-9a-f]+) \+0x([0-9a-f]+)", log)
    assert size and int(size[2], 16) == session.WINDOW_BYTES, log


def test_text_console(guest):
    """The kernel's own console draws text."""
    before = guest.screenshot()
    guest.check(r"for i in $(seq 20); do echo 'the quick brown fox jumps over the lazy dog'; done >/dev/tty0")
    assert session.wait_until(lambda: guest.screenshot().rgb != before.rgb)
    assert session.wait_until(lambda: guest.screenshot().colours() >= 2)


@pytest.mark.parametrize("name", ["corners", "gradient", "checker", "solid:ff8000"])
def test_patterns(guest, name):
    with guest.showing("show", name) as (event, _):
        assert_shows(guest, picture.pattern(name, *shown_size(event)))


@pytest.mark.parametrize("name", FORMATS)
def test_formats(guest, name):
    with guest.showing("show", "gradient", "--format", name) as (event, _):
        assert_shows(guest, picture.gradient(*shown_size(event)))


def test_all_modes(guest):
    """Through every mode the connector lists; a picture of each size is looked at."""
    sizes = {(mode["width"], mode["height"]) for mode in guest.heads()[0]["modes"]}
    assert len(sizes) > 5
    walk = guest.start(f"{guest.kmsbench} modes corners --step-ms 0")
    end = walk.wait_for_event("end", 120)
    assert end["modes"] == end["of"]
    assert walk.job.wait().returncode == 0
    for width, height in sorted(sizes):
        with guest.showing("show", "corners", "--mode", f"{width}x{height}"):
            assert guest.wait_for_picture(picture.corners(width, height)) is None, f"{width}x{height}"


def test_odd_sizes(guest):
    for width, height in ((641, 479), (1366, 768), (853, 333)):
        with guest.showing("show", "gradient", "--mode", f"{width}x{height}"):
            assert_shows(guest, picture.gradient(width, height))


def test_cursor(ours):
    """Image and place, drawn into our picture. Linux gives the place of the image's corner, whatever the hot spot."""
    with ours.showing("cursor", "gradient", "--pos", "300,200", "--hot", "5,7") as (event, running):
        running.wait_for_event("cursor")
        background = picture.gradient(*shown_size(event))
        assert ours.wait_for_picture(picture.with_cursor(background, 300, 200), cursor=True) is None
        assert ours.wait_for_picture(background, cursor=False) is None
    with ours.showing("show", "gradient"):
        assert ours.wait_for_picture(background, cursor=True) is None, "the cursor outlives its program"


def test_cursor_moves(ours):
    """Over the edges too."""
    moves = [(0, 0), (1000, 600), (1270, 790), (-20, -30)]
    with ours.showing("cursor", "checker", "--pos", "10,20", "--step-ms", "1500",
                      *(word for x, y in moves for word in ("--move", f"{x},{y}"))) as (event, running):
        background = picture.checker(*shown_size(event))
        for number, (x, y) in enumerate(moves):
            running.wait_for(lambda r: len([e for e in r.events() if e.get("event") == "cursor"]) >= number + 2, "a move")
            assert ours.wait_for_picture(picture.with_cursor(background, x, y), cursor=True, timeout_s=1.4) is None


@pytest.mark.parametrize("arguments", ["--kms", "--x11"])
def test_triangle(guest, arguments):
    """Vulkan in the guest, pixels on the host."""
    if arguments == "--x11":
        guest.vm.start_x()
    running = guest.start(f"{guest.triangle} {arguments} --hold 300")
    try:
        running.wait_for_event("shown", 120)
        assert guest.wait_for_triangle() is None
    finally:
        running.stop()


def test_x_and_glxgears(guest):
    """X draws, gears turn in it, and what X holds is what the host sees."""
    guest.vm.start_x()
    gears = guest.start("glxgears -geometry 600x600+100+50", 300)
    try:
        def gear_colours():
            pixels = guest.screenshot().crop(100, 50, 600, 600).rgb
            found = set()
            for at in range(0, len(pixels), 3 * 7):
                red, green, blue = pixels[at:at + 3]
                if max(red, green, blue) > 100:
                    found.add("red" if red > 2 * max(green, blue) else "green" if green > 2 * max(red, blue)
                              else "blue" if blue > 1.5 * max(red, green) else None)
            return {"red", "green", "blue"} <= found
        assert session.wait_until(gear_colours, 60, 0.5), "no gears on the screen"
        assert guest.wait_for_change(), "the gears stand still"
    finally:
        gears.stop()
    guest.check("xsetroot -solid '#336699'")
    inside = guest.vm.x_screenshot()
    expected = picture.Picture(inside.width, inside.height, inside.rgb)
    assert_shows(guest, expected)


def test_cursor_of_x(ours):
    """X moves its pointer: the picture differs from the one without a cursor there, and nowhere else."""
    ours.vm.start_x()
    ours.check("xsetroot -solid '#336699' -cursor_name left_ptr; xdotool mousemove 400 300")

    def box():
        return ours.screenshot(cursor=True).difference_box(ours.screenshot())
    assert session.wait_until(box, 10), "no cursor in the picture"
    left, top, right, bottom = box()
    # The arrow's tip, its hot spot, is the top left of its outline.
    assert abs(left - 400) <= 3 and abs(top - 300) <= 3 and right < 400 + 64 and bottom < 300 + 64, (left, top, right, bottom)


def test_stop_x(guest):
    """X gives the screen back to the kernel's console."""
    if guest.run("test -e /run/x-pid").returncode:
        pytest.skip("X was not started")
    guest.vm.stop_x()
    with guest.showing("show", "corners") as (event, _):
        assert_shows(guest, picture.corners(*shown_size(event)))


@pytest.mark.parametrize("size", [(1400, 900), (1920, 1080), (1024, 768), (1280, 800)])
def test_resize(guest, size):
    """The host asks for another size: a hotplug event, a new EDID, a new preferred mode, a picture in it."""
    width, height = size
    resize(guest, width, height)
    head = guest.heads()[0]
    assert edid_is_valid(head["edid"])
    assert edid_preferred_size(head["edid"]) == size
    with guest.showing("show", "corners") as (event, _):
        assert shown_size(event) == size
        assert_shows(guest, picture.corners(width, height))


def test_two_heads(guest):
    """A second monitor is plugged in, shows a picture of its own, and leaves again."""
    if len(guest.heads()) < 2:
        pytest.skip("this front end was started with one head")
    heads = resize(guest, 800, 600, head=1)
    assert heads[0]["status"] == "connected"
    with guest.showing("show", "corners", "gradient", "--connector", "all") as (event, _):
        first, second = event["heads"]
        assert (second["width"], second["height"]) == (800, 600)
        assert_shows(guest, picture.corners(first["width"], first["height"]), head=0)
        assert_shows(guest, picture.gradient(800, 600), head=1)


def test_second_head_unplugged(ours):
    if ours.front_end.console:
        pytest.skip("QEMU switches heads off with their window: size 0")
    if len(ours.heads()) < 2 or ours.heads()[1]["status"] != "connected":
        pytest.skip("there is no second head")
    hotplug(ours, lambda: ours.device.control("resize", "--scanout=1", "--off"),
            lambda heads: heads[1]["status"] == "disconnected")


def test_blob_scanout(ours):
    """With blob resources the screen is guest memory: shown without a transfer to us."""
    if "+resource_blob" not in ours.dmesg():
        pytest.skip("the front end does not let blob resources through")
    before = counters(ours)
    with ours.showing("show", "gradient") as (event, _):
        assert_shows(ours, picture.gradient(*shown_size(event)))
        after = counters(ours)
    assert after["transfers"] == before["transfers"]
    assert after["flushes"] > before["flushes"]


def counters(guest):
    return guest.device.status()["counters"]


def test_driver_unbind_and_bind(guest):
    slot = guest.pci_slot()
    log = guest.check("cd /sys/bus/virtio/drivers/virtio_gpu && device=$(basename virtio*) && echo $device >unbind && "
                      "test ! -e /dev/dri/card0 && echo $device >bind && ls /dev/dri", 60)
    assert "card0" in log
    assert guest.pci_slot() == slot
    with guest.showing("show", "checker") as (event, _):
        assert_shows(guest, picture.checker(*shown_size(event)))


def test_many_driver_cycles_leak_nothing(ours):
    cycle = "echo $device >unbind && echo $device >bind"

    def cycles(count):
        ours.check(f"cd /sys/bus/virtio/drivers/virtio_gpu && device=$(basename virtio*) && "
                   f"for i in $(seq {count}); do {cycle}; done", 120)
        return len(list(pathlib.Path(f"/proc/{ours.device.process.pid}/fd").iterdir()))
    first = cycles(2)
    assert cycles(6) <= first


@pytest.mark.parametrize("how", ["reset", "reboot"])
def test_guest_restarts(guest, how):
    """The reset button, and the guest's own reboot: the device comes back as new."""
    running = guest.start(f"{guest.kmsbench} show gradient --hold 600")
    running.wait_for_event("shown")
    getattr(guest.vm, how)()
    assert "Initialized virtio_gpu" in guest.dmesg()
    with guest.showing("show", "corners") as (event, _):
        assert_shows(guest, picture.corners(*shown_size(event)))


def test_idle_guest_costs_nothing(ours):
    session.wait_until(lambda: ours.device_cpu_share(1) < IDLE_LIMIT, 10, 0)
    assert ours.device_cpu_share(5) < IDLE_LIMIT


def test_memory(ours):
    """What our process holds beyond guest memory, which is the guest's, and the pictures of its surfaces."""
    if ours.keeps_freed_memory():
        pytest.skip("a sanitizer keeps what was freed")
    with ours.showing("show", "gradient", "--mode", "1920x1080"):
        memory = procs.memory_bytes(ours.device.process.pid)
        pictures = ours.device.status()["memory"]["resource_bytes"]
        assert memory["anonymous"] + memory["file"] - pictures < MEMORY_LIMIT_BYTES, (memory, pictures)


def test_status_and_screenshot_while_busy(ours):
    """The control socket answers at once while the guest draws as fast as it can."""
    running = ours.start(f"{ours.kmsbench} flip --size 1920x1080 --seconds 4")
    try:
        before = counters(ours)["flushes"]
        assert session.wait_until(lambda: counters(ours)["flushes"] > before + 50, 20)
        began = time.monotonic()
        seen = ours.screenshot()
        assert time.monotonic() - began < 3
        assert seen.size == (1920, 1080)
    finally:
        running.stop()


def test_our_process_dies(ours):
    """SIGKILL of our process: QEMU and the guest live on."""
    ours.device.process.send_signal(signal.SIGKILL)
    ours.device.process.wait(10)
    # A fault of QEMU 11.1's vfio-user: it aborts when the socket closes while a virtual CPU waits for an answer.
    if ours.front_end.transport == "vfio-user" and session.wait_until(lambda: ours.vm.process.poll() is not None, 2):
        assert "error_setv: Assertion" in ours.logs()
        pytest.xfail("QEMU waited for an answer just then, and aborted")
    assert "alive" in ours.check("echo alive")
    assert ours.vm.qmp.call("query-status")["running"]
