# SPDX-License-Identifier: MIT
"""Each case of vk-tests reports the same through our renderer as on the host's driver."""

import json
import subprocess

import pytest

from rig import drivers

# Cases that a client's driver cannot run, by what it says is missing.
MISSING = {
    "26.1": {"VK_EXT_memory_budget": "shown with VN_DEBUG=mem_budget only"},
    "25.0": {
        "VK_EXT_memory_budget": "shown with VN_DEBUG=mem_budget only",
        "Vulkan 1.4": "this driver ends at 1.3",
        "pushDescriptor": "this driver ends at Vulkan 1.3",
        "sparseBinding": "this driver has a queue for sparse binding only where the host has one without graphics",
        "sparseResidencyImage2D": "as above",
        "VK_EXT_mesh_shader": "unknown to this driver",
        "VK_KHR_ray_query": "unknown to this driver",
    },
}
# What MoltenVK lacks; see src/venus/portability.c.
MISSING_PORTABLE = {
    "geometryShader", "VK_EXT_transform_feedback", "VK_EXT_conditional_rendering", "VK_EXT_multi_draw", "VK_EXT_mesh_shader",
    "VK_KHR_ray_query", "VK_EXT_graphics_pipeline_library", "sparseBinding", "sparseResidencyImage2D", "VK_EXT_memory_budget",
    "VK_EXT_vertex_input_dynamic_state", "drawIndirectCount",
}
# Values that belong to the driver, not to what was drawn or computed.
OWN_VALUES = {"objects/limits": {"api", "sparse", "formats", "image formats"}}

# Values that are reported only with a feature, which a client's driver or MoltenVK may lack.
OPTIONAL_VALUES = {
    "memory/requirements": {"row pitch 2"},      # Vulkan 1.4
    "draw/queries": {"statistics"},              # pipelineStatisticsQuery
    "draw/lines_and_points": {"lines with adjacency"},  # geometryShader
}


def vk_tests(environment, *arguments, seconds=30, limit_s=900):
    result = subprocess.run([drivers.VK_TESTS, f"--seconds={seconds}", *arguments], env=environment, capture_output=True, text=True,
                            timeout=limit_s, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    # Mesa says on stderr what it has waited for too long.
    return {case["case"]: {**case, "stderr": result.stderr[-3000:]} for case in map(json.loads, result.stdout.splitlines())}


def names():
    if not drivers.VK_TESTS.exists():
        return []
    return subprocess.run([drivers.VK_TESTS, "--list"], capture_output=True, text=True, check=True).stdout.split()


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", names())


@pytest.fixture(scope="module")
def on_host():
    if not drivers.VK_TESTS.exists():
        pytest.skip("vk-tests is not built")
    return vk_tests(drivers.native())


@pytest.fixture(scope="module")
def through_venus(client, server, on_host):
    return vk_tests(client(server))


def compare(case, host, guest, missing, optional):
    if host["status"] == "skip":
        pytest.skip(f"the host's driver has no {host['reason']}")
    assert host["status"] == "pass", f"on the host's own driver: {host['status']}: {host['reason']}"
    if guest["status"] == "skip":
        assert guest["reason"] in missing, f"{guest['reason']} is missing in the guest"
        pytest.skip(f"not in the guest: {guest['reason']}")
    assert guest["status"] == "pass", f"{guest['status']}: {guest['reason']}\n{guest['stderr']}"
    own = OWN_VALUES.get(case, set())
    different = {name: (host["values"].get(name), guest["values"].get(name))
                 for name in sorted(set(host["values"]) | set(guest["values"]))
                 if name not in own and host["values"].get(name) != guest["values"].get(name)}
    if optional:
        for name in OPTIONAL_VALUES.get(case, ()):
            if guest["values"].get(name) is None:
                different.pop(name, None)
    assert not different, f"host and guest: {different}"


def test_case(case, mesa, on_host, through_venus):
    compare(case, on_host[case], through_venus[case], MISSING[mesa], optional=mesa != "26.1")


def test_limits_are_the_hosts(mesa, on_host, through_venus):
    """What test_case leaves out."""
    if mesa != "26.1":
        pytest.skip("an older driver knows fewer formats")
    assert on_host["objects/limits"]["values"] == through_venus["objects/limits"]["values"]


def test_no_context_was_lost(server, through_venus):
    assert not server.contexts_lost()


def test_nothing_stays(client, server, through_venus):
    """All over again, by which time everything that is made once was made."""
    before = server.settled()
    vk_tests(client(server), "objects/", "memory/")
    after = server.settled()
    assert after.fds <= before.fds and after.threads <= before.threads, f"{before} became {after}"
    assert after.mappings <= before.mappings + 20, f"{before} became {after}"


@pytest.fixture(scope="module")
def portable_server(tmp_path_factory):
    from conftest import Servers
    started = Servers(tmp_path_factory.mktemp("portable"))
    yield started("--emulate-portability")
    started.stop()


@pytest.fixture(scope="module")
def through_portable(client, portable_server, on_host):
    return vk_tests(client(portable_server))


def test_portable_case(case, mesa, on_host, through_portable):
    """The same with a renderer that must do without what MoltenVK lacks."""
    compare(case, on_host[case], through_portable[case], MISSING_PORTABLE | set(MISSING[mesa]), optional=True)


def test_guest_vram(mesa, client, servers, on_host):
    """Memory that the guest's side makes first, as in a virtual machine."""
    server = servers("--guest-vram")
    got = vk_tests(client(server), "memory/", "transfer/", "sync/threads")
    for name, guest in got.items():
        if guest["status"] != "skip" and on_host[name]["status"] == "pass":
            compare(name, on_host[name], guest, MISSING[mesa], optional=mesa != "26.1")
    assert not server.contexts_lost()
