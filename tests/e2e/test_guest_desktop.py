# SPDX-License-Identifier: MIT
"""Desktops and benchmarks in the guest, drawn by the host: no environment variable tells Mesa what to do.

The tests of one front end share a guest and run in the order of this file. PVGPU_E2E_ALL=1 runs all scenes of the
benchmarks and, where KVM runs the guest, all of ggml's matrix multiplications.
"""

import contextlib
import glob
import os
import re
import subprocess

import pytest

from rig import picture, session

ALL = bool(os.environ.get("PVGPU_E2E_ALL"))
ROOT, WINDOW = (0x33, 0x66, 0x99), (0xcc, 0x33, 0x11)


def opengl(guest):
    """The name of the guest's OpenGL driver, as an expression."""
    return r"virgl \(" if "virgl" in guest.front_end.name else r"zink Vulkan .*\(Virtio-GPU Venus"


@contextlib.contextmanager
def running(guest, command):
    program = guest.start(command, 3600)
    try:
        yield program
    finally:
        program.stop()


def flushes(guest):
    return guest.device.status()["scanouts"][0]["flushes"]


def desktop(guest):
    """The screen below weston's panel, whose clock may move on."""
    screen = guest.screenshot()
    return screen.crop(0, 40, screen.width, screen.height - 40)


def new_window(guest, background, is_right):
    """Waits until what differs from the background is a window that is right; returns its bounds, or None."""
    box = None

    def look():
        nonlocal box
        seen = desktop(guest)
        box = seen.difference_box(background)
        return box and is_right(seen.crop(*extent(box)), background.crop(*extent(box)))
    return box if session.wait_until(look, 120, 0.2) else None


def extent(box):
    left, top, right, bottom = box
    return left, top, right + 1 - left, bottom + 1 - top


def is_simple_egl(seen, under):
    """weston-simple-egl: a triangle of red, green and blue corners on black of half the opacity."""
    if seen.size != (250, 250):
        return False
    triangle = shade = 0
    for at in range(0, len(seen.rgb), 3):
        pixel, below = seen.rgb[at:at + 3], under.rgb[at:at + 3]
        if all(abs(2 * mine - theirs) <= 4 for mine, theirs in zip(pixel, below)):
            shade += 1
        elif abs(sum(pixel) - 255) <= 6:
            triangle += 1
    return triangle > 3000 and triangle + shade > 0.99 * len(seen.rgb) / 3


def has_cube(seen):
    """vkcube's background, in a place that the shell chooses."""
    grey = bytes((0x33, 0x33, 0x33))
    return sum(seen.rgb[at:at + 3] == grey for at in range(0, len(seen.rgb), 3)) > 60000


def test_weston(ours):
    """Its GL renderer draws what it has itself, what a client put into shared memory, and what a client drew by OpenGL or Vulkan."""
    ours.vm.start_weston()
    log = (ours.vm.share / "weston.log").read_text(errors="replace")
    assert re.search(f"GL renderer: {opengl(ours)}", log) and "Using GL renderer" in log, log

    def at_rest():
        """Nothing moves: the shell has faded in, or a client has gone."""
        before = flushes(ours)
        return desktop(ours).colours(3) > 2 and not session.wait_until(lambda: flushes(ours) != before, 1.5, 0.5)
    assert session.wait_until(at_rest, 120), "weston does not come to rest"
    background = desktop(ours)

    with running(ours, "weston-flower"):
        box = new_window(ours, background, lambda seen, _: seen.colours(21) > 20)
        assert box and max(extent(box)[2:]) <= 200, f"no flower: {box}"
    assert session.wait_until(lambda: desktop(ours).rgb == background.rgb, 60, 0.2), "the flower stays"

    with running(ours, "weston-simple-egl"):
        assert new_window(ours, background, is_simple_egl), "no triangle"
        assert ours.wait_for_change(), "the triangle stands still"
        before = flushes(ours)
        assert session.wait_until(lambda: flushes(ours) > before + 10, 60), "no damage"
    assert session.wait_until(lambda: desktop(ours).rgb == background.rgb, 60, 0.2), "the triangle stays"
    assert session.wait_until(at_rest, 60), "there is damage although nothing moves"

    if "venus" in ours.front_end.name:
        with running(ours, "vkcube --wsi wayland"):
            assert session.wait_until(lambda: has_cube(desktop(ours)), 120, 0.5), "no cube"
            assert ours.wait_for_change(), "the cube stands still"

    ours.vm.stop_weston()
    assert session.wait_until(ours.is_at_rest, 30, 0.5), ours.device.status()


def test_x_draws_with_opengl(ours):
    ours.vm.start_x()
    log = (ours.vm.share / "Xorg.log").read_text(errors="replace")
    assert re.search(f"glamor X acceleration enabled on {opengl(ours)}", log), log[-3000:]
    info = ours.check("glxinfo -B", 300)
    assert re.search(f"OpenGL renderer string: {opengl(ours)}", info), info
    assert re.search(r"OpenGL core profile version string: 4\.[3-6]", info), info


def test_window_moves_in_x(ours):
    """Each move is damage, and every pixel is right after it. Linux 6.8 to 7.3 makes the whole screen of any damage."""
    ours.vm.start_x()
    ours.check(f"xsetroot -solid '#{bytes(ROOT).hex()}'")
    screen, window = picture.solid(*ours.screenshot().size, ROOT), picture.solid(120, 90, WINDOW)
    colour = f"'#{bytes(WINDOW).hex()}'"

    def shows(x, y):
        expected = screen.paste(window, x, y)
        difference = ours.wait_for_picture(expected, timeout_s=60)
        if not difference and ours.front_end.console:
            difference = ours.wait_for_picture(expected, console=True, timeout_s=60)
        return difference

    with running(ours, f"xlogo -fg {colour} -bg {colour} -bw 0 -geometry 120x90+300+200"):
        assert shows(300, 200) is None
        for x, y in ((305, 203), (700, 400), (1220, 760), (0, 0)):
            before = flushes(ours)
            ours.check(f"xdotool windowmove $(xdotool search --class xlogo | tail -n 1) {x} {y}")
            assert shows(x, y) is None
            assert flushes(ours) > before
    assert ours.wait_for_picture(screen, timeout_s=60) is None


@pytest.mark.parametrize("program", ["glxgears -geometry 300x300+0+0", "glxgears -geometry 1280x720", "es2gears_x11"])
def test_gears_turn(ours, program):
    """Of any width: the pitch of a picture is shared, too."""
    ours.vm.start_x()
    with running(ours, f"stdbuf -oL {program}") as gears:
        if "300x300" in program:
            assert session.wait_until(lambda: picture.shows_gears(ours.screenshot()), 120, 0.5), "no gears"
        else:
            box = (720, 280, 300, 360) if "1280x720" in program else (0, 0, 300, 300)
            assert session.wait_until(lambda: ours.screenshot().crop(*box).colours(21) > 20, 120, 0.5), "no gears"
        assert ours.wait_for_change(), "the gears stand still"
        rate = gears.wait_for(lambda it: re.search(r"= ([0-9.]+) FPS", it.job.output()), "a rate", 120)
        print(f"{program}: {rate[1]} frames per second")


def test_picture_is_the_hosts(ours, tmp_path):
    """A picture with shaders, textures and blending, made in the guest and by the host's own driver."""
    info, far = ours.picture_beside_the_hosts(tmp_path)
    assert re.search(opengl(ours), info["renderer"]), info
    assert far < 0.001, f"{far:.1%} of the channels differ"


def test_glmark2_finds_its_pictures_right(ours):
    ours.vm.start_x()
    scenes = "" if ALL else "-b build -b texture -b shading -b bump"
    out = ours.check(f"glmark2 --validate {scenes}", 3600 if ALL else 600)
    verdicts = re.findall(r"Validation: (\w+)", out)
    assert re.search(f"GL_RENDERER: *{opengl(ours)}", out) and verdicts.count("Success") >= 3 and "Failure" not in verdicts, out


def benchmark(guest, command, rates_wanted):
    """Runs it until it has printed that many rates; its pictures are not blank, and change."""
    guest.vm.start_x()
    pictures = set()

    def look(program):
        window = guest.screenshot().crop(0, 0, 400, 300)
        if window.colours(21) > 20:
            pictures.add(window.rgb)
        rates = re.findall(r"^(\[.*FPS: *([0-9.]+) .*)$", program.job.output(), re.M)
        return rates if len(rates) >= rates_wanted and len(pictures) > 1 else None
    with running(guest, f"stdbuf -oL {command}") as program:
        rates = program.wait_for(look, f"{rates_wanted} scenes and changing pictures", 3600 if ALL else 180)
    assert all(float(rate) > 0 for _, rate in rates), rates
    for line, _ in rates:
        print(line)


def test_glmark2_runs(ours):
    scenes, count = ("", 30) if ALL else ("-b jellyfish:duration=1", 1)
    benchmark(ours, f"glmark2 --run-forever -s 400x300 {scenes}", count)


def test_vkmark_runs(ours):
    scenes, count = ("", 12) if ALL else ("-b shading:duration=1", 1)
    benchmark(ours, f"vkmark --winsys xcb --run-forever -s 400x300 {scenes}", count)


def test_vkcube(ours):
    ours.vm.start_x()
    with running(ours, "vkcube"):
        grey = (0x33, 0x33, 0x33)
        # Where vkcube puts its window: its background is there, and not all of it.
        assert session.wait_until(lambda: ours.screenshot().pixel(110, 110) == grey, 120, 0.5), "no cube"
        assert ours.screenshot().crop(100, 100, 500, 500).colours(21) > 20
        assert ours.wait_for_change(), "the cube stands still"


def test_ggml_multiplies(ours):
    """What passes on the host's own driver passes in the guest."""
    program = next(iter(glob.glob("/usr/libexec/*/ggml/test-backend-ops")), None)
    backends = [path for name in ("vulkan", "cpu-x64") for path in glob.glob(f"/usr/lib/*/ggml/backends*/libggml-{name}.so")]
    if not program or len(backends) != 2:
        pytest.skip("ggml's tests with its Vulkan backend are not installed (libggml0-backend-vulkan)")
    # It takes no device that is a CPU, as this host's is, unless it is told which.
    chosen = {"GGML_VK_VISIBLE_DEVICES": "0"}
    arguments = ["test", "-b", "Vulkan0", "-o", "MUL_MAT"]
    if not ALL:
        arguments += ["-p", r"type_a=(f16|q4_0),type_b=f32,m=16,n=(1|16),k=(256|1024),bs=\[(1,1|3,2)\],nr=\[1,1\]"]
    elif not ours.vm.kvm:
        # All would take an emulated CPU days. Each type but the iq ones, whose shaders take a CPU's driver a minute each.
        arguments += ["-p", r"type_a=[^i]\w*,type_b=f32,m=16,n=(1|9|16),k=256,bs=\[1,1\],nr=\[1,1\],per=\[0,1,2,3\]"]

    def results(output):
        return dict(re.findall(r"^\s*(\w+\(.*\)): .*?(OK|FAIL|not supported)", re.sub(r"\x1b\[[0-9;]*m", "", output), re.M))
    native = results(subprocess.run([program, *arguments], env={**os.environ, **chosen}, capture_output=True, text=True,
                                    timeout=3600, check=False).stdout)
    passed = {name for name, result in native.items() if result == "OK"}
    assert passed, native

    libraries = glob.glob("/usr/lib/*/libggml*.so.0")
    in_guest, *shared = ours.vm.install(program, *backends, *libraries)
    for path, original in zip(shared, backends + libraries):
        ours.check(f"mkdir -p {os.path.dirname(original)} && cp {path} {original}", 300)
    words = " ".join(f"'{word}'" for word in arguments)
    out = ours.vm.run(f"{in_guest} {words}", 7200 if ALL else 900, chosen)
    seen = results(out.stdout)
    worse = sorted(name for name in passed if seen.get(name) != "OK")
    assert not worse and out.returncode == 0, f"{len(worse)} of {len(passed)}: {worse[:10]}\n{out}"


def test_desktops_leave_nothing(ours):
    ours.vm.start_x()
    ours.vm.stop_x()
    assert session.wait_until(ours.is_at_rest, 30, 0.5), ours.device.status()


def test_nothing_was_complained_of(ours):
    assert not ours.complaints()
    assert not re.search(r"\*ERROR\*.*\(command 0x207\)", ours.dmesg())
