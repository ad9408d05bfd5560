# SPDX-License-Identifier: MIT
"""Runs tests of Debian's piglit package, which env/piglit.sh unpacks, and gathers a result for each."""

import ast
import concurrent.futures
import gzip
import json
import os
import pathlib
import re
import signal
import subprocess
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
# Programs that ask for what no test server has: windows, files of other drivers.
NOT_HERE = re.compile(r"glx|egl|dma_buf|front-?buffer|window|dlist-beginend|timer|sync_control", re.IGNORECASE)
SHADERS_AT_ONCE = 30
CRASHES = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}


def unpack():
    """The directory of piglit's tree; OSError: it cannot be had."""
    result = subprocess.run([TOP / "env/piglit.sh"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(result.stderr)
    return pathlib.Path(result.stdout.strip())


class Test:
    def __init__(self, name, command):
        self.name, self.program, self.arguments = name, command[0], command[1:]
        self.is_shader = self.program == "shader_runner" and len(command) == 2
        self.stem = pathlib.Path(command[-1]).name.removesuffix(".shader_test")


def profile(tree):
    """piglit's "quick" profiles, as far as they were unpacked, sorted by name."""
    tests, home = {}, tree / "piglit"
    for name in ("quick_gl", "quick_shader"):
        with gzip.open(home / f"tests/{name}.xml.gz") as file:
            for entry in xml.etree.ElementTree.parse(file).getroot():
                options = {option.get("name"): option.get("value") for option in entry}
                test = Test(entry.get("name"), ast.literal_eval(options["command"]))
                if not NOT_HERE.search(test.name) and (not test.is_shader or (home / test.arguments[0]).exists()):
                    tests[test.name] = test
    return [tests[name] for name in sorted(tests)]


class Runner:
    """Runs tests with an environment that leads to one server.

    A test without a result of its own has how its process ended. "ended" stands for an exit, an abort and a closed pipe
    alike: which of them it is when the server closes the connection depends on what Mesa was about to do.
    """

    def __init__(self, tree, environment, limit_s=180):
        self.home, self.limit_s = tree / "piglit", limit_s
        # No window: pictures go to a framebuffer object (-fbo).
        self.environment = {**os.environ, **environment, "PIGLIT_SOURCE_DIR": str(self.home), "PIGLIT_PLATFORM": "surfaceless_egl",
                            "LD_LIBRARY_PATH": f"{self.home / 'lib'}:{tree}"}

    def run(self, tests):
        """{name: result}; a test with parts has a result for each, "NAME: PART" as well."""
        results = {}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for part in pool.map(self._job, self._jobs(tests)):
                results.update(part)
        return results

    @staticmethod
    def _jobs(tests):
        """Shaders of one directory share a process, as long as their results can be told apart."""
        jobs, shaders = [], []
        for test in tests:
            if not test.is_shader:
                jobs.append([test])
                continue
            if shaders and (len(shaders) == SHADERS_AT_ONCE or any(test.stem == other.stem for other in shaders)):
                jobs.append(shaders)
                shaders = []
            shaders.append(test)
        return jobs + ([shaders] if shaders else [])

    def _job(self, tests):
        if not tests[0].is_shader:
            return self._program(tests[0])
        results, left = {}, list(tests)
        while left:
            told, end = self._execute("shader_runner", [*(test.arguments[0] for test in left), "-report-subtests"])
            while left and left[0].stem in told:
                test = left.pop(0)
                results[test.name] = told[test.stem]
            if left:
                # The process ended with it.
                results[left.pop(0).name] = end
        return results

    def _program(self, test):
        told, end = self._execute(test.program, test.arguments)
        return {test.name: end, **{f"{test.name}: {part}": result for part, result in told.items()}}

    def _execute(self, program, arguments):
        """({part: result}, result of the whole)"""
        command = [f"bin/{program}", *arguments, "-auto", "-fbo"]
        try:
            process = subprocess.run(command, cwd=self.home, env=self.environment, capture_output=True, timeout=self.limit_s, check=False)
            output, end = process.stdout, "crash" if process.returncode in CRASHES else None
        except subprocess.TimeoutExpired as late:
            output, end = late.stdout or b"", "timeout"
        told, whole = {}, None
        for line in output.decode(errors="replace").splitlines():
            _, mark, text = line.partition("PIGLIT: ")
            if not mark:
                continue
            try:
                words = json.loads(text)
            except ValueError:
                continue
            told.update(words.get("subtest", {}))
            whole = words.get("result", whole)
        return told, end or whole or "ended"


def compare(tests, ours, theirs, tries=3):
    """What of `tests` has other results with the runner `ours` than with `theirs`: {name: (ours, theirs)}; and all of ours.

    A test that is not the same from run to run has a difference only where no run of one is like some run of the other.
    """
    first = ours.run(tests)
    seen = {name: ({result}, set()) for name, result in first.items()}
    again = tests
    for attempt in range(tries):
        for side, runner in enumerate((ours, theirs)):
            for name, result in (first if (attempt, side) == (0, 0) else runner.run(again)).items():
                seen.setdefault(name, (set(), set()))[side].add(result)
        differing = {name for name, (mine, others) in seen.items() if not mine & others}
        again = [test for test in tests if any(name == test.name or name.startswith(f"{test.name}: ") for name in differing)]
        if not again:
            break
    return {name: tuple("/".join(sorted(results)) for results in seen[name]) for name in sorted(differing)}, first
