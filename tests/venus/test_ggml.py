# SPDX-License-Identifier: MIT
"""ggml's tests of its Vulkan backend: what passes on the host's own driver passes through our renderer."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from conftest import ALL
from rig import drivers

OPERATIONS = ["ADD", "SOFT_MAX", "ROPE", "CPY", "MUL_MAT", "FLASH_ATTN_EXT"]
# Parameters to leave the others out for time: thousands of cases, most of which take the same way.
SOME = {
    "ADD": r"type=f32,ne=\[1[06],",
    "SOFT_MAX": r"ne=\[(16|15|32),.*mask=1,sinks=1",
    "ROPE": r"type=f16,ne_a=\[128,(32|40),2,.*,inplace=0",
    "CPY": r"type_src=(f32|q8_0),type_dst=(f16|f32|q8_0|q4_0),ne_src=\[256,",
    "MUL_MAT": r"type_a=(f16|q4_0),type_b=f32,m=16,n=(1|9|16),",
    "FLASH_ATTN_EXT": r"hsk=64,hsv=64,nh=4,nr23=\[1,1\],kv=113,nb=(1|3),mask=1,.*logit_softcap=0.000000,.*type_K=f16",
}
LINE = re.compile(r"^\s*(\w+\(.*\)): .*?(OK|FAIL|not supported)", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def operation_results(command, environment, operation, limit_s):
    # Without this ggml takes no device that is a CPU.
    environment = {**environment, "GGML_VK_VISIBLE_DEVICES": "0"}
    arguments = ["test", "-b", "Vulkan0", "-o", operation]
    if not ALL:
        arguments += ["-p", SOME[operation]]
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, errors="replace",
                            timeout=limit_s, check=False)
    output = ESCAPES.sub("", result.stdout)
    results = dict(LINE.findall(output))
    assert results, f"exit code {result.returncode}\n{output[-2000:]}{result.stderr[-2000:]}"
    return results, output


def compare(host, guest, output):
    passed = {name for name, result in host.items() if result == "OK"}
    assert passed, f"nothing passes on the host's own driver: {sorted(set(host.values()))}"
    worse = sorted(name for name in passed if guest.get(name) != "OK")
    assert not worse, f"{len(worse)} of {len(passed)} that pass on the host's driver do not:\n" + "\n".join(
        f"{name}: {guest.get(name)}" for name in worse[:20]) + f"\n{output[-1500:]}"


@pytest.fixture(scope="module")
def program():
    path = next(iter(glob.glob("/usr/libexec/*/ggml/test-backend-ops")), None)
    if not path or not glob.glob("/usr/lib/*/ggml/backends*/libggml-vulkan.so"):
        pytest.skip("ggml's tests with its Vulkan backend are not installed (libggml0-backend-vulkan)")
    return path


native_results = {}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation(program, client, server, operation, mesa):
    if mesa == "25.0" and not ALL:
        pytest.skip("left out for time; PVGPU_VENUS_ALL=1 runs it")
    limit_s = 3600 if ALL else 600
    if operation not in native_results:
        native_results[operation], _ = operation_results([program], drivers.native(), operation, limit_s)
    guest, output = operation_results([program], client(server), operation, limit_s)
    compare(native_results[operation], guest, output)
    assert not server.contexts_lost()


@pytest.fixture(scope="module")
def newest():
    """A command prefix that runs a program in the client root with the newest Mesa; made at the first use."""
    if not ALL and not os.environ.get("PVGPU_VENUS_NEWEST"):
        pytest.skip("the client root of Debian sid is used with PVGPU_VENUS_ALL=1 or PVGPU_VENUS_NEWEST=1 only")
    prefix = [str(drivers.TOP / "run"), "shell", "--root", "llama", "--"]
    if os.getuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("the client root needs root and mmdebstrap")
    made = subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=900, check=False)
    if made.returncode:
        pytest.skip(f"Debian sid cannot be had: {made.stderr.strip().splitlines()[-1:]}")
    return prefix


def test_newest_mesa(newest, server):
    """The other end of Debian: its Mesa's venus and its ggml against our renderer on this one's lavapipe."""
    environment = {**drivers.native(), "VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/virtio_icd.json", "VN_DEBUG": "vtest",
                   "VTEST_SOCKET_NAME": str(server.socket)}
    native = {**environment, "VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/lvp_icd.json"}
    shell = [*newest, "sh", "-c", 'exec /usr/libexec/*/ggml/test-backend-ops "$@"', "sh"]
    for operation in OPERATIONS:
        host, _ = operation_results(shell, native, operation, 3600)
        guest, output = operation_results(shell, environment, operation, 3600)
        compare(host, guest, output)
    assert not server.contexts_lost()
