# SPDX-License-Identifier: MIT
"""The Khronos validation layer within the server finds nothing that it does not find in the programs themselves."""

import json
import re
import subprocess

import pytest

from rig import drivers

LAYER = "VK_LAYER_KHRONOS_validation"
MESSAGE = re.compile(r"Validation (?:Error|Warning|Performance Warning): \[ ([^\]]+) \]")
# Messages about the server, each with the reason why it is right.
OURS = {}


def needs_layer():
    listing = subprocess.run(["vulkaninfo", "--summary"], env=drivers.native(), capture_output=True, text=True, timeout=60, check=False)
    return LAYER in listing.stdout


@pytest.fixture(scope="module", autouse=True)
def layer():
    if not needs_layer():
        pytest.skip("the validation layer is not installed (vulkan-validationlayers)")


def layered(environment):
    # The layer keeps what it has seen of shaders in HOME.
    return {**environment, "VK_INSTANCE_LAYERS": LAYER, "VK_LAYER_ENABLES": "", "XDG_CACHE_HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def native_messages():
    result = subprocess.run([drivers.VK_TESTS, "--seconds=60"], env=layered(drivers.native()), capture_output=True, text=True,
                            timeout=900, check=False)
    return set(MESSAGE.findall(result.stdout + result.stderr))


def test_vk_tests(servers, client, native_messages, mesa):
    if mesa != "26.1":
        pytest.skip("the server does the same for an older driver; left out for time")
    server = servers(environment={"VK_INSTANCE_LAYERS": LAYER, "XDG_CACHE_HOME": "/nonexistent"})
    result = subprocess.run([drivers.VK_TESTS, "--seconds=60"], env=client(server), capture_output=True, text=True, timeout=900,
                            check=False)
    cases = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    bad = [case for case in cases if case["status"] not in ("pass", "skip")]
    assert cases and not bad, bad
    text = server.log()
    found = set(MESSAGE.findall(text)) - native_messages - set(OURS)
    first = {name: text[text.index(f"[ {name} ]"):][:900] for name in sorted(found)}
    assert not found, "\n\n".join(first.values())
