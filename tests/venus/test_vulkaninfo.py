# SPDX-License-Identifier: MIT
"""vulkaninfo shows the host's device, but for what is documented in rig/vulkaninfo.py."""

import re
import subprocess

import pytest

from rig import drivers, vulkaninfo


def run(environment):
    result = subprocess.run(["vulkaninfo"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return vulkaninfo.parse(result.stdout)


@pytest.fixture(scope="module")
def host_info():
    return run(drivers.native())


@pytest.fixture(scope="module")
def guest_info(client, server):
    return run(client(server))


def test_device(guest_info):
    assert "Virtio-GPU Venus (llvmpipe" in guest_info["Device Properties and Extensions/VkPhysicalDeviceProperties/deviceName"]
    assert guest_info["Device Properties and Extensions/VkPhysicalDeviceVulkan12Properties/driverID"] == "DRIVER_ID_MESA_VENUS"


def test_api_version(guest_info, mesa):
    version = guest_info["Device Properties and Extensions/VkPhysicalDeviceProperties/apiVersion"]
    # Mesa 25.0's venus ends at 1.3 whatever the host has.
    assert re.match(r"1\.3\." if mesa == "25.0" else r"1\.4\.", version), version


def test_is_the_hosts(host_info, guest_info, mesa):
    if mesa != "26.1":
        pytest.skip("a driver that is older than the host's knows less; which features it drops is not ours to list")
    assert len(guest_info) > 900
    lines = vulkaninfo.unexplained(host_info, guest_info)
    assert not lines, "\n".join(lines)


def test_extensions_of_an_older_driver(host_info, guest_info, mesa):
    """Nothing is shown that the host has not, but for what the driver makes itself."""
    host, guest = vulkaninfo.extensions(host_info), vulkaninfo.extensions(guest_info)
    extra = set(guest) - set(host) - vulkaninfo.GUESTS_OWN
    assert not extra
    assert len(guest) >= 90, f"Mesa {mesa} shows {len(guest)} extensions"


def test_again_and_again(client, server):
    """Each is a context of its own; nothing of it stays."""
    environment = client(server)
    run(environment)
    before = server.settled()
    for _ in range(6):
        run(environment)
    after = server.settled()
    assert after.fds <= before.fds and after.threads <= before.threads, f"{before} became {after}"
    assert not server.contexts_lost()
