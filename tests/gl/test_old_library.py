# SPDX-License-Identifier: MIT
"""The renderer's unit tests with the oldest virglrenderer that is to work."""

import os
import pathlib
import subprocess

import pytest

from conftest import BUILD, TOP


@pytest.fixture(scope="module")
def library():
    result = subprocess.run([TOP / "env/old-virgl.sh"], capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(result.stderr)
    (directory,) = (path.parent for path in pathlib.Path(result.stdout.strip()).glob("lib/*/libvirglrenderer.so"))
    return directory


def must(command, environment):
    result = subprocess.run(list(map(str, command)), cwd=TOP, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:]
    return result.stdout


def test_unit_tests(library):
    build = BUILD / "old-virgl"
    environment = {**os.environ, "CC": "gcc", "CXX": "g++", "PKG_CONFIG_PATH": str(library / "pkgconfig"), "LD_LIBRARY_PATH": str(library)}
    if not (build / "build.ninja").exists():
        must(["meson", "setup", "-Dman=disabled", "-Dguest_programs=disabled", build, TOP], environment)
    must(["ninja", "-C", build, "test-virgl"], environment)
    assert str(library) in must(["ldd", build / "test-virgl"], environment)
    told = must([build / "test-virgl"], environment)
    assert "PASSED" in told and "SKIPPED" not in told, told
