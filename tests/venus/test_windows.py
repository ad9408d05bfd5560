# SPDX-License-Identifier: MIT
"""Demo programs in windows, with swapchains as they come: what is on the screen is what the host's driver shows."""

import subprocess

import pytest

from conftest import ALL, MESAS, PORTABLE, Servers
from rig import drivers

TOLERANCE = 0.001  # the share of pixels that may differ

# Options are vkmark's defaults but for these; each scene at least once.
VKMARK = [
    "vertex:device-local=true", "vertex:device-local=false", "texture:anisotropy=0", "texture:anisotropy=16", "shading:shading=gouraud",
    "shading:shading=blinn-phong-inf", "shading:shading=phong", "shading:shading=cel", "effect2d:kernel=edge", "effect2d:kernel=blur",
    "desktop", "cube", "clear",
]
GLMARK2 = [
    "build:use-vbo=false", "build:use-vbo=true", "texture:texture-filter=nearest", "texture:texture-filter=mipmap",
    "shading:shading=gouraud", "shading:shading=phong", "shading:shading=cel", "bump:bump-render=high-poly", "bump:bump-render=normals",
    "bump:bump-render=height", "effect2d:kernel=0,1,0;1,-4,1;0,1,0;", "pulsar:light=false:quads=5:texture=false",
    "desktop:blur-radius=5:effect=blur:passes=1:separable=true:windows=4", "desktop:effect=shadow:windows=4",
    "buffer:columns=200:interleave=false:update-dispersion=0.9:update-fraction=0.5:update-method=map", "ideas:speed=duration", "jellyfish",
    "terrain", "shadow", "refract", "conditionals:fragment-steps=5:vertex-steps=0", "function:fragment-complexity=medium:fragment-steps=5",
    "loop:fragment-loop=false:fragment-steps=5:vertex-steps=5",
]
# In ./run check the others are left out for time, as they draw in the same ways: PVGPU_VENUS_ALL=1 runs them.
SHORT_VKMARK = {"26.1": VKMARK, "25.0": ["vertex:device-local=true", "effect2d:kernel=blur", "desktop", "cube"]}
SHORT_GLMARK2 = {
    "26.1": ["build:use-vbo=true", "texture:texture-filter=mipmap", "shading:shading=phong", "bump:bump-render=normals",
             "desktop:blur-radius=5:effect=blur:passes=1:separable=true:windows=4", "jellyfish", "shadow", "refract"],
    "25.0": ["shading:shading=phong", "jellyfish", "buffer:columns=200:interleave=false:update-dispersion=0.9:update-fraction=0.5:"
             "update-method=map"],
}
native_pictures = {}


def pytest_generate_tests(metafunc):
    # Here and not in conftest.py, whose hook leaves alone what asks for scenes.
    if "scene" in metafunc.fixturenames:
        every, short = (VKMARK, SHORT_VKMARK) if "vkmark" in metafunc.function.__name__ else (GLMARK2, SHORT_GLMARK2)
        metafunc.parametrize("mesa,scene", [(mesa, scene) for mesa in MESAS for scene in (every if ALL else short[mesa])],
                             scope="module")


@pytest.fixture(autouse=True)
def still():
    if not drivers.STILL.exists():
        pytest.skip("libstill.so is not built")


@pytest.fixture(scope="module")
def client(mesa, client):
    """
    Mesa 25.0 has swapchains only where memory can be exported as dma-bufs, and then hands these to the X server by DRI3. That takes
    a kernel's graphics device, which vtest has not: its dma-bufs are none, and no X server has DRI3 without. So "sw" it is, a
    copy by the CPU, which 26.1 does of its own accord. Without the variable 25.0 shows windows in a virtual machine: tests/e2e.
    """
    extra = {"MESA_VK_WSI_DEBUG": "sw"} if mesa == "25.0" else {}
    return lambda server: {**client(server), **extra}


@pytest.fixture(scope="module")
def server(mesa, tmp_path_factory):
    started = Servers(tmp_path_factory.mktemp("server"))
    yield started(*(["--dma-buf"] if mesa == "25.0" else []))
    started.stop()


@pytest.fixture
def compare(client, server, screen, tmp_path, mesa):
    """Shows a program on both drivers and compares the pictures."""
    def function(key, command, environment, expected_output=None, tolerance=TOLERANCE):
        mark = tmp_path / "mark"
        if key not in native_pictures:
            native_pictures[key], _ = screen.show(command, {**drivers.native(), **environment}, mark)
        host = native_pictures[key]
        assert not host.is_blank(), "nothing is on the screen with the host's own driver"
        guest, output = screen.show(command, {**client(server), **environment}, mark, seconds=90)
        if expected_output:
            assert expected_output in output, output[-2000:]
        share = host.difference(guest)
        if share > tolerance:
            name = "".join(c if c.isalnum() else "-" for c in key)[:60]
            directory = drivers.BUILD / "venus-pictures"
            directory.mkdir(exist_ok=True)
            host.write_ppm(directory / f"{name}-host.ppm")
            guest.write_ppm(directory / f"{name}-mesa-{mesa}.ppm")
            raise AssertionError(f"{share:.2%} of the pixels differ; pictures: {directory}/{name}*")
        assert not server.contexts_lost()
    return function


@pytest.mark.parametrize("frames", [1, 37])
def test_vkcube(compare, frames):
    compare(f"vkcube {frames}", ["vkcube", "--wsi", "xcb"], {"STILL_FRAMES": str(frames)}, "Virtio-GPU Venus")


def test_vkmark(compare, scene):
    compare(f"vkmark {scene}", ["vkmark", "--winsys", "xcb", "--size", "640x480", "-b", f"{scene}:duration=600"], {}, "Virtio-GPU Venus")


def zink():
    if PORTABLE:
        pytest.skip("zink wants nullDescriptor, which MoltenVK has not")
    return {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "LIBGL_ALWAYS_SOFTWARE": "1"}


def test_glxgears(compare):
    compare("glxgears", ["glxgears", "-info"], zink(), "Virtio-GPU Venus")


def test_glmark2(compare, scene):
    compare(f"glmark2 {scene}", ["glmark2", "--size", "640x480", "-b", f"{scene}:duration=600"], zink(), "Virtio-GPU Venus")


def test_opengl_version(client, server, screen, mesa):
    """zink, of the same release as the driver below, finds all it needs for what it offers on the host's own driver."""
    def version(environment):
        result = subprocess.run(["glxinfo", "-B"], env={**environment, **zink(), "DISPLAY": screen.display}, capture_output=True,
                                text=True, timeout=60, check=False)
        lines = [line for line in result.stdout.splitlines() if line.startswith("OpenGL core profile version string")]
        assert lines, result.stdout + result.stderr
        return lines[0].partition(" Mesa ")
    offered, _, release = version(client(server))
    assert release.startswith(mesa + ".")
    assert offered == version(drivers.native())[0]


def test_presents_for_a_while(client, server, screen):
    """vkmark to its end, twice: frames are presented and nothing stays."""
    command = ["vkmark", "--winsys", "xcb", "--size", "320x240", "-b", "cube:duration=2", "-b", "desktop:duration=2"]
    def once():
        result = subprocess.run(command, env={**client(server), "DISPLAY": screen.display}, capture_output=True, text=True, timeout=90,
                                check=False)
        assert result.returncode == 0 and "vkmark Score" in result.stdout, result.stdout[-2000:] + result.stderr[-2000:]
    once()
    before = server.settled()
    once()
    after = server.settled()
    assert after.fds <= before.fds and after.threads <= before.threads, f"{before} became {after}"
