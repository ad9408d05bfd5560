# SPDX-License-Identifier: MIT
"""The Vulkan drivers that the tests use, and environments in which a program finds one of them only."""

import glob
import os
import pathlib

TOP = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PVGPU_BUILD") or TOP / "build").resolve()
VK_TESTS = BUILD / "tests/vk/vk-tests"
STILL = BUILD / "tests/venus/libstill.so"


def _first(pattern):
    return next(iter(sorted(glob.glob(pattern))), None)


LAVAPIPE = _first("/usr/share/vulkan/icd.d/lvp_icd*.json")
# Mesa's venus by version; env/old-mesa.sh unpacks the older one, with the OpenGL that goes with it.
MESAS = {
    "26.1": _first("/usr/share/vulkan/icd.d/virtio_icd*.json"),
    "25.0": _first("/opt/pvgpu/mesa-25.0/virtio_icd*.json"),
}


def _clean():
    """The environment without what other tests or people set."""
    unwanted = ("VK_", "VN_", "MESA_", "LIBGL_", "GALLIUM_", "LP_", "ZINK_", "STILL_", "LD_PRELOAD", "DISPLAY", "VTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    # Compiled shaders of one run must not spare the next one the work.
    environment.update(MESA_SHADER_CACHE_DISABLE="true", XDG_RUNTIME_DIR="/tmp", VK_LOADER_LAYERS_DISABLE="~implicit~")
    return environment


def native():
    return {**_clean(), "VK_DRIVER_FILES": LAVAPIPE}


def venus(mesa, socket):
    libraries = {"LD_LIBRARY_PATH": str(pathlib.Path(MESAS[mesa]).parent)} if mesa == "25.0" else {}
    return {**_clean(), **libraries, "VK_DRIVER_FILES": MESAS[mesa], "VN_DEBUG": "vtest", "VTEST_SOCKET_NAME": str(socket)}


def server():
    environment = {**_clean(), "VK_DRIVER_FILES": LAVAPIPE}
    environment["LSAN_OPTIONS"] = f"suppressions={pathlib.Path(__file__).parents[1] / 'lsan.supp'}:print_suppressions=0"
    return environment
