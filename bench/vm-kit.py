# SPDX-License-Identifier: MIT
"""A directory that runs a guest on another machine's GPU, tests it and measures it: ./run bench vm-kit DIRECTORY

That machine needs its Vulkan driver, Python 3.10 and a C library as new as _kit.OLDEST_GLIBC; it needs no KVM, no QEMU, no Vulkan
loader, no network and nothing installed. There: bash DIRECTORY/run.sh. In it are QEMU with a C library of its own, since it calls no
graphics driver, our program, which runs on the machine's C library as its driver does, and a guest: the kernel of the test guest,
the newest Mesa of Debian (./run shell --root llama) and the programs that draw and measure.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

import _kit
from _kit import LIBRARIES, KitError

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
LIMIT_MIB = 60

OF_THIS_MACHINE = ["bench/vkprobe/pvgpu-vkprobe", "guest/kmsbench/pvgpu-kmsbench", "guest/triangle/pvgpu-triangle", "guest/blobbench/pvgpu-blobbench",
                   "bench/glprobe/pvgpu-glprobe", "tests/vk/vk-tests"]
# Opened by name at run time by loaders and drivers of the machine.
OPENED = ["libvulkan.so.1", "libX11.so.6", "libX11-xcb.so.1", "libXext.so.6", "libGLdispatch.so.0", "libGLX.so.0", "libEGL.so.1", "libGL.so.1"]
FIRMWARE = ["seabios/bios-256k.bin", "qemu/linuxboot_dma.bin", "qemu/pvh.bin", "qemu/kvmvapic.bin"]
QEMU = pathlib.Path("/usr/bin/qemu-system-x86_64")

VENUS = LIBRARIES / "libvulkan_virtio.so"
GGML = LIBRARIES / "ggml/backends0"
GGML_BACKENDS = ["libggml-vulkan.so", "libggml-cpu-x64.so", "libggml-cpu-sse42.so", "libggml-cpu-haswell.so"]
# Mesa 25.0 to 26.1 do not work on a GPU: what they do there is looked at, too.
OLDER_MESA = "opt/older-mesa"
# With LLVM more than all the rest: a disk and a pack of its own, to be used by LD_LIBRARY_PATH, and not needed for the rest.
OPENGL = ["libEGL.so.1", "libEGL_mesa.so.0", "libgbm.so.1"]

QEMU_SCRIPT = """#!/bin/sh
here=$(cd "$(dirname "$0")/../qemu" && pwd)
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/qemu-system-x86_64" -L "$here/share" "$@"
"""
PVGPU_SCRIPT = """#!/bin/sh
kit=$(cd "$(dirname "$0")/.." && pwd)
LD_LIBRARY_PATH=$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$kit/bin/pvgpu" "$@"
"""
# In the place of guest/build-image: guest/vm.py asks it for the image.
IMAGE_SCRIPT = """#!/bin/sh
cd "$(dirname "$0")/../image" && pwd
"""


def client_root():
    """The directory of the root whose Mesa and ggml the guest has; made if it is not there."""
    subprocess.run([TOP / "run", "shell", "--root", "llama", "--", "true"], check=True)
    script = f'env_dir={TOP}/env; . "$env_dir/common.sh"; . "$env_dir/root.sh"; root_dir llama'
    return pathlib.Path(_kit.output_of("bash", "-c", script).strip())


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def add_device(kit):
    """Our program, for the machine's own C library, and what drives it all."""
    for name in ("venus.py", "vm-kit/measure.py", "gpu-kit/compare.py", "gpu-kit/native.sh"):
        kit.add(TOP / "bench" / name, f"bench/{name}")
    for source in sorted((TOP / "tests/e2e/rig").glob("*.py")):
        kit.add(source, f"tests/e2e/rig/{source.name}")
    for name in ("vm.py", "image.py"):
        kit.add(TOP / "guest" / name, f"guest/{name}")
    write_program(kit.directory / "guest/build-image", IMAGE_SCRIPT)
    kit.add_program(BUILD / "pvgpu")
    write_program(kit.directory / "build/pvgpu", PVGPU_SCRIPT)
    for name in OF_THIS_MACHINE:
        kit.add_program(BUILD / name, str(pathlib.Path("build", name).parent))
    for name in OPENED:
        if (LIBRARIES / name).exists():
            kit.add_library(name, LIBRARIES / name)


def add_qemu(directory):
    kit = _kit.Kit(directory / "qemu", own_glibc=True)
    kit.add_program(QEMU, ".")
    for name in FIRMWARE:
        kit.add(f"/usr/share/{name}", f"share/{pathlib.Path(name).name}")
    write_program(directory / "path/qemu-system-x86_64", QEMU_SCRIPT)


def add_busybox(tree, initrd):
    """The guest's shell and tools, from its initrd."""
    with open(initrd, "rb") as archive:
        program = subprocess.run(["cpio", "--quiet", "-i", "--to-stdout", "bin/busybox"], stdin=archive, stdout=subprocess.PIPE, check=True)
    path = tree / "usr/bin/busybox"
    path.write_bytes(program.stdout)
    path.chmod(0o755)
    for applet in _kit.output_of(str(path), "--list").split():
        if not (tree / "usr/bin" / applet).exists():
            (tree / "usr/bin" / applet).symlink_to("busybox")


def add_older_mesa(tree):
    """Venus of this environment's Mesa, to be used by LD_LIBRARY_PATH and VK_DRIVER_FILES."""
    kit = _kit.Kit(tree, lib_folder=OLDER_MESA)
    kit.add_library(VENUS.name, VENUS)
    manifest = {"file_format_version": "1.0.1", "ICD": {"library_path": f"/{OLDER_MESA}/{VENUS.name}", "api_version": "1.4.0"}}
    (tree / OLDER_MESA / "icd.json").write_text(json.dumps(manifest))


def make_guest(directory, root):
    """image/: the kernel and the initrd of the test guest, and a disk with little else than what is run."""
    image = pathlib.Path(_kit.output_of(TOP / "guest/build-image").strip())
    directory.mkdir()
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile(image / name, directory / name)
    with tempfile.TemporaryDirectory(prefix="pvgpu-kit-") as work:
        tree = pathlib.Path(work)
        tree.chmod(0o755)
        for folder in ("proc", "sys", "dev", "run", "tmp", "root", "host", "etc", "var", "usr/bin", "usr/lib", "usr/lib64"):
            (tree / folder).mkdir(parents=True)
        for name, target in (("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("usr/sbin", "bin")):
            (tree / name).symlink_to(target)
        (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        add_busybox(tree, directory / "initrd.img")
        kit = _kit.Kit(tree, root, str(LIBRARIES)[1:], own_glibc=True)
        kit.add(_kit.DYNAMIC_LINKER, str(_kit.DYNAMIC_LINKER)[1:])
        kit.add_program(pathlib.Path("/usr/bin/vulkaninfo"), "usr/bin")
        kit.add_library(VENUS.name, VENUS)
        for manifest in (root / "usr/share/vulkan/icd.d").glob("virtio_icd*.json"):
            kit.add(pathlib.Path("/", manifest.relative_to(root)), f"usr/share/vulkan/icd.d/{manifest.name}")
        for name in OF_THIS_MACHINE:
            if "glprobe" not in name:
                kit.add_needed(BUILD / name, BUILD / name)
        kit.add_program(next(pathlib.Path("/", path.relative_to(root)) for path in root.glob("usr/libexec/*/ggml/test-backend-ops")), "usr/bin")
        for name in GGML_BACKENDS:
            kit.add_program(GGML / name, str(GGML)[1:])
        add_older_mesa(tree)
        make_disk(work, directory / "root.erofs")


def make_disk(tree, path):
    subprocess.run(["mkfs.erofs", "-T0", "--all-root", "--quiet", str(path), str(tree)], check=True, stdout=subprocess.DEVNULL)


def make_opengl(path):
    """A disk with this environment's Mesa for OpenGL."""
    with tempfile.TemporaryDirectory(prefix="pvgpu-kit-") as work:
        kit = _kit.Kit(pathlib.Path(work), lib_folder=".")
        for name in OPENGL:
            kit.add_library(name, LIBRARIES / name)
        for plugin in (LIBRARIES / "gbm").glob("*.so"):
            kit.add_program(plugin, "gbm")
        kit.add(next(pathlib.Path("/usr/share/glvnd/egl_vendor.d").glob("*_mesa.json")), "vendor.json")
        make_disk(work, path)


def versions(root):
    def version(package, *prefix):
        return _kit.output_of(*prefix, "dpkg-query", "-W", "-f", "${Version}", package)
    inside = ["chroot", str(root)]
    return {"qemu": _kit.output_of(str(QEMU), "--version").splitlines()[0], "mesa": version("mesa-vulkan-drivers", *inside),
            "ggml": version("libggml0", *inside), "older_mesa": version("mesa-vulkan-drivers")}


def pack(path, tree):
    subprocess.run(["tar", "-C", str(tree.parent), "--owner=0", "--group=0", "--use-compress-program=xz -T0 -6", "-cf", str(path), tree.name],
                   check=True)
    size_mib = path.stat().st_size / (1 << 20)
    if size_mib > LIMIT_MIB:
        raise KitError(f"{path} has {size_mib:.0f} MiB, more than {LIMIT_MIB}")
    print(f"{path}: {size_mib:.0f} MiB")


def make(directory, opengl):
    _kit.start_directory(directory)
    directory.mkdir(parents=True)
    shutil.copy(TOP / "bench/vm-kit/run.sh", directory / "run.sh")
    root = client_root()
    with tempfile.TemporaryDirectory(prefix="pvgpu-kit-") as work:
        tree = pathlib.Path(work) / "vm-kit"
        add_device(_kit.Kit(tree))
        add_qemu(tree)
        make_guest(tree / "image", root)
        (tree / "versions.json").write_text(json.dumps(versions(root)))
        pack(directory / "kit.tar.xz", tree)
        if opengl:
            shutil.rmtree(tree)
            (tree / "image").mkdir(parents=True)
            make_opengl(tree / "image/opengl.erofs")
            pack(directory / "opengl.tar.xz", tree)
    print(f"run it with: bash {directory}/run.sh [OPTIONS]; see run.sh --help")


def main():
    parser = argparse.ArgumentParser(prog="./run bench vm-kit", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, nargs="?", default=BUILD / "vm-kit")
    parser.add_argument("--no-opengl", action="store_true", help="leave the guest's OpenGL out")
    options = parser.parse_args()
    make(options.directory.resolve(), not options.no_opengl)
    return 0


if __name__ == "__main__":
    _kit.run(main)
