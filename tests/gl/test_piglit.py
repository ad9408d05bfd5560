# SPDX-License-Identifier: MIT
"""piglit's tests on virpipe have the same results with ours as with virgl_test_server, which has the same library.

./run check runs some thousand, evenly spread over the list; PVGPU_GL_ALL=1 ./run test gl/test_piglit runs all of them.
"""

import collections
import json
import os

import pytest

import piglit

EVERYTHING = os.environ.get("PVGPU_GL_ALL") == "1"
# Shaders share processes, a program has its own.
KINDS = {"shaders": (lambda test: test.is_shader, 6), "programs": (lambda test: not test.is_shader, 50)}
PARTS = 4
# Differences that are meant: what names begin with, the results with ours and with the other.
EXPLAINED = {
    # A host that draws tile by tile does not keep what texture barriers promise: there ours does not offer them.
    "spec@arb_texture_barrier@": ("skip", "pass"),
}


@pytest.fixture(scope="module")
def tree():
    try:
        return piglit.unpack()
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tests(tree):
    return piglit.profile(tree)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_the_test_server(tree, tests, server, peer, kind, part, record_property):
    belongs, one_of = KINDS[kind]
    chosen = [test for test in tests if belongs(test)][::1 if EVERYTHING else one_of]
    chosen = chosen[part * len(chosen) // PARTS:(part + 1) * len(chosen) // PARTS]
    assert len(chosen) > 30
    differing, results = piglit.compare(chosen, piglit.Runner(tree, server.client), piglit.Runner(tree, peer.client))
    counts = collections.Counter(results.values())
    print(f"{kind}, part {part}: {len(chosen)} tests, {len(results)} results: {dict(counts)}")
    record_property("results", json.dumps(counts))
    # Much draws and is right.
    assert counts["pass"] > len(results) / 4, counts
    assert {name: pair for name, pair in differing.items()
            if not any(name.startswith(prefix) and pair == known for prefix, known in EXPLAINED.items())} == {}
