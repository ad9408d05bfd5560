# SPDX-License-Identifier: MIT
"""A hostile driver, part three: contexts, capability sets, host blobs, the window; and front ends that have no window.

One process for a whole table: the host's Vulkan driver takes long to load.
"""

import struct

import pytest

from wirelib import gpu, vfio_user as vfio, vhost_user as vu
from wirelib.console import Console
from wirelib.control import Control
from wirelib.machine import DRIVER, MIB
from wirelib.process import poll

HUGE = 0xFFFFFFFF
HUGE64 = 2**64 - 1
VENUS = 4
WINDOW = 64 * MIB
PAGE = 4096

CONTEXT = 1
BLOB = 200      # of the context: 64 KiB, mapped at 1 MiB
OTHER = 201     # of the context: 64 KiB, not mapped
GUEST = 202     # a blob in the guest's memory
PICTURE = 203   # 2D
AT = MIB
FREE = 7        # no resource has this id

CTX = gpu.ERR_CONTEXT_ID
ID = gpu.ERR_RESOURCE_ID
PARAM = gpu.ERR_PARAMETER
ANY = None

FEATURES_3D = gpu.F_VIRGL | gpu.F_CONTEXT_INIT


@pytest.fixture(autouse=True)
def drivers_leak(monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


def venus_machine(hostile, *arguments):
    machine = hostile.new_vfio_machine("--renderer=2d,venus", f"--window={WINDOW // MIB}M", *arguments,
                                       features=vfio.FEATURES | FEATURES_3D)
    machine.realize().start()
    return machine


def set_scene(machine):
    page = machine.memory.alloc(65536)
    machine.must(gpu.ctx_create(CONTEXT, VENUS, b"hostile"))
    for resource in (BLOB, OTHER):
        machine.must(gpu.create_host_blob(CONTEXT, resource, 65536))
    machine.must(gpu.map_blob(BLOB, AT))
    machine.must(gpu.create_blob(GUEST, 65536, [(page, 65536)]))
    machine.must(gpu.create_2d(PICTURE, 64, 64))


# name -> (command, the error)
REFUSED = {
    "capset-info-1": (gpu.get_capset_info(1), PARAM),
    "capset-info-max": (gpu.get_capset_info(HUGE), PARAM),
    **{f"capset-{n:#x}": (gpu.get_capset(n), ANY) for n in (0, 1, 2, 5, 0x104, HUGE)},
    "capset-version": (gpu.get_capset(VENUS, 1), ANY),
    "capset-version-max": (gpu.get_capset(VENUS, HUGE), ANY),
    "create-context-0": (gpu.ctx_create(0, VENUS), CTX),
    "create-context-twice": (gpu.ctx_create(CONTEXT, VENUS), CTX),
    **{f"create-context-of-capset-{n}": (gpu.ctx_create(9, n), ANY) for n in (1, 2, 3, 5, 63, 255)},
    "destroy-context-0": (gpu.ctx_destroy(0), CTX),
    "destroy-context-unknown": (gpu.ctx_destroy(9), CTX),
    "destroy-context-max": (gpu.ctx_destroy(HUGE), CTX),
    "attach-to-nobody": (gpu.ctx_attach(9, BLOB), CTX),
    "attach-nothing": (gpu.ctx_attach(CONTEXT, FREE), ID),
    "attach-0": (gpu.ctx_attach(CONTEXT, 0), ID),
    "detach-from-nobody": (gpu.ctx_detach(9, BLOB), CTX),
    "detach-nothing": (gpu.ctx_detach(CONTEXT, HUGE), ID),
    "submit-to-nobody": (gpu.submit_3d(9, bytes(8)), CTX),
    "submit-to-0": (gpu.submit_3d(0, bytes(8)), CTX),
    "submit-more-than-there-is": (gpu.submit_3d(CONTEXT, bytes(8), size=9), PARAM),
    "submit-4-gigabytes": (gpu.submit_3d(CONTEXT, bytes(8), size=HUGE), PARAM),
    "submit-size-wraps": (gpu.submit_3d(CONTEXT, bytes(8), size=HUGE - 31), PARAM),
    "submit-above-the-limit": (gpu.submit_3d(CONTEXT, bytes(8), size=(4 << 20) + 1), PARAM),
    "blob-of-nobody": (gpu.create_host_blob(9, FREE, PAGE), CTX),
    "blob-of-context-0": (gpu.create_host_blob(0, FREE, PAGE), CTX),
    "blob-id-0": (gpu.create_host_blob(CONTEXT, 0, PAGE), ID),
    "blob-id-taken": (gpu.create_host_blob(CONTEXT, PICTURE, PAGE), ID),
    "blob-size-0": (gpu.create_host_blob(CONTEXT, FREE, 0), ANY),
    "blob-mem-4": (gpu.create_host_blob(CONTEXT, FREE, PAGE, mem=4), ANY),
    "blob-both-huge-count": (gpu.create_host_blob(CONTEXT, FREE, PAGE, mem=3, entries=HUGE), ANY),
    "blob-both-count-wraps": (gpu.create_host_blob(CONTEXT, FREE, PAGE, mem=3, entries=0x10000001), ANY),
    "map-nothing": (gpu.map_blob(FREE, 0), ID),
    "map-0": (gpu.map_blob(0, 0), ID),
    "map-a-picture": (gpu.map_blob(PICTURE, 0), ANY),
    "map-guest-memory": (gpu.map_blob(GUEST, 0), ANY),
    "map-twice": (gpu.map_blob(BLOB, 0), PARAM),
    "map-twice-the-same": (gpu.map_blob(BLOB, AT), PARAM),
    "map-over-another": (gpu.map_blob(OTHER, AT), PARAM),
    "map-over-its-start": (gpu.map_blob(OTHER, AT - 65536 + PAGE), PARAM),
    "map-over-its-end": (gpu.map_blob(OTHER, AT + 65536 - PAGE), PARAM),
    "map-behind-the-window": (gpu.map_blob(OTHER, WINDOW), PARAM),
    "map-across-the-end": (gpu.map_blob(OTHER, WINDOW - 65536 + PAGE), PARAM),
    "map-offset-max": (gpu.map_blob(OTHER, HUGE64), PARAM),
    "map-offset-wraps": (gpu.map_blob(OTHER, HUGE64 - 65535), PARAM),
    "map-unaligned": (gpu.map_blob(OTHER, 1), PARAM),
    "map-half-a-page": (gpu.map_blob(OTHER, 2048), PARAM),
    "unmap-nothing": (gpu.unmap_blob(FREE), ID),
    "unmap-unmapped": (gpu.unmap_blob(OTHER), PARAM),
    "unmap-a-picture": (gpu.unmap_blob(PICTURE), PARAM),
    "texture": (gpu.command(gpu.CREATE_3D, "11I", FREE, 2, 1, 8, 64, 64, 1, 1, 0, 0, 0), ANY),
    "transfer-nothing": (gpu.transfer_3d(gpu.TRANSFER_TO_HOST_3D, CONTEXT, FREE), ID),
    "transfer-of-nobody": (gpu.transfer_3d(gpu.TRANSFER_FROM_HOST_3D, 9, BLOB), CTX),
    "transfer-a-blob": (gpu.transfer_3d(gpu.TRANSFER_FROM_HOST_3D, CONTEXT, BLOB, (HUGE,) * 6, HUGE64), ANY),
}


def window_used(control):
    return control.must("status")["status"]["memory"]["window_used_bytes"]


def test_refused(hostile):
    """Each is refused, its fence ends, on whatever ring, and nothing has changed by it."""
    path = hostile.path("control.sock")
    machine = venus_machine(hostile, f"--control={path}")
    set_scene(machine)
    wrong = []
    for ring_idx in (None, 0, 1, 63, 64, 255):
        for name, (command, error) in REFUSED.items():
            kind, flags, _, ctx_id = struct.unpack_from("<IIQI", command)
            flags |= gpu.FLAG_FENCE | (gpu.FLAG_RING_IDX if ring_idx is not None else 0)
            command = gpu.Header(kind, flags, 77, ctx_id, ring_idx or 0).pack() + command[24:]
            response = machine.command(command)
            if response.kind not in ((error,) if error else gpu.ERRORS) or response.fence_id != 77:
                wrong.append((name, ring_idx, response))
    assert not wrong, wrong
    # The context still answers, the blob is where it was, the other can be mapped.
    machine.must(gpu.submit_3d(CONTEXT, b"", fence=78, ring_idx=0))
    machine.must(gpu.map_blob(OTHER, AT + 65536))
    with Control(path) as control:
        assert window_used(control) == 2 * 65536
        machine.must(gpu.unmap_blob(BLOB))
        machine.must_fail(gpu.unmap_blob(BLOB), PARAM)
        machine.must(gpu.unref(OTHER))
        machine.must(gpu.unref(BLOB))
        assert window_used(control) == 0


def test_a_fence_of_any_ring_ends(hostile):
    """Also of rings that no queue was bound to, of contexts that are gone meanwhile and of a stream that is refused."""
    machine = venus_machine(hostile)
    machine.must(gpu.ctx_create(CONTEXT, VENUS))
    for ring_idx in (0, 1, 63, 64, 255):
        machine.command(gpu.submit_3d(CONTEXT, b"", fence=100 + ring_idx, ring_idx=ring_idx))
    machine.must_fail(gpu.submit_3d(CONTEXT, b"\xff" * 64, fence=1, ring_idx=0))
    # The stream cannot be trusted: the context is lost, for good, and can be destroyed.
    machine.command(gpu.submit_3d(CONTEXT, b"", fence=2, ring_idx=1))
    requests = [machine.submit(gpu.submit_3d(CONTEXT, b"", fence=n, ring_idx=n % 64)) for n in range(20)]
    requests.append(machine.submit(gpu.ctx_destroy(CONTEXT)))
    for request in requests:
        machine.control.wait(request)
    machine.must(gpu.ctx_create(CONTEXT, VENUS))
    machine.must(gpu.submit_3d(CONTEXT, b"", fence=3, ring_idx=0))


def test_blobs_as_large_as_they_can_be_said(hostile):
    """No memory is taken for a size; what does not fit into the window cannot be mapped."""
    machine = venus_machine(hostile)
    machine.must(gpu.ctx_create(CONTEXT, VENUS))
    before = machine.process.rss_bytes()
    for n, size in enumerate((1, WINDOW, WINDOW + 1, 1 << 40, 1 << 63, HUGE64 - PAGE, HUGE64)):
        if machine.command(gpu.create_host_blob(CONTEXT, 300 + n, size)).ok:
            response = machine.command(gpu.map_blob(300 + n, 0))
            assert response.ok == (size <= WINDOW), (size, response)
            machine.must(gpu.unref(300 + n))
    for n in range(100):
        machine.command(gpu.create_host_blob(CONTEXT, 400 + n, PAGE, blob_id=HUGE64 - n))
        machine.command(gpu.map_blob(400 + n, n * PAGE))
    machine.must(gpu.ctx_destroy(CONTEXT))
    assert machine.process.rss_bytes() < before + 64 * MIB * machine.process.memory_factor()


def test_names_and_flags_of_contexts(hostile):
    machine = venus_machine(hostile)
    for n, (init, nlen) in enumerate(((VENUS, HUGE), (VENUS | 0xFFFFFF00, 64), (VENUS | 0x100, 0)), start=1):
        machine.must(gpu.ctx_create(n, init, b"\xff\0\n%s%n" * 9, nlen=nlen))
        machine.must(gpu.ctx_destroy(n))


# Front ends without a window.

def vhost_machine(hostile, **options):
    machine = hostile.new_machine("--renderer=2d,venus", f"--window={WINDOW // MIB}M",
                                  features=DRIVER | FEATURES_3D, **options)
    return machine.realize()


def said(machine):
    return any("not offered Vulkan" in line for line in machine.process.log())


def test_a_window_gives_venus(hostile):
    machine = vhost_machine(hostile, back_channel=vu.BackChannel()).start()
    assert machine.config_fields()[3] == 1
    assert machine.must(gpu.get_capset_info(0)).body[:4] == struct.pack("<I", VENUS)
    assert not said(machine)


def test_refused_window(hostile):
    """The front end takes the protocol feature and then refuses the mapping: what needs it is not offered, and says so."""
    machine = vhost_machine(hostile, back_channel=vu.BackChannel(status=1)).start()
    poll(lambda: machine.config_fields()[3] == 0, "no capability set is left")
    machine.must_fail(gpu.get_capset_info(0), PARAM)
    machine.must_fail(gpu.get_capset(VENUS), PARAM)
    machine.must_fail(gpu.ctx_create(1, VENUS), PARAM)
    assert said(machine)
    machine.picture(64, 64)


def test_console_of_the_front_end(hostile):
    """QEMU's vhost-user-gpu, which has a console, takes SHMEM, but has no such region."""
    machine = vhost_machine(hostile, console=Console()).start()
    poll(lambda: said(machine), "the log says why")
    machine.must_fail(gpu.get_capset_info(0), PARAM)
    machine.must_fail(gpu.ctx_create(1, VENUS), PARAM)
    machine.picture(64, 64)
