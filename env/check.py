# SPDX-License-Identifier: MIT
"""./run check: all steps, one after the other, their results summed up. Python 3, standard library only."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

import tasks
from tasks import TOP, say

OUT = TOP / "build/check"
SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:suppressions={TOP / 'tests/tsan.supp'}:print_suppressions=0",
}
CORES = os.cpu_count() or 1


class Tally:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def read_junit(path):
    """The results in a JUnit file of meson or pytest, and what to show of the failed ones."""
    tally, shown = Tally(), []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        if bad:
            tally.failed += 1
            output = "".join(child.text or "" for child in [*bad, *(c for c in case if c.tag.startswith("system-"))])
            shown.append(f"--- {case.get('classname', '')} {case.get('name')}\n{bad[0].get('message') or ''}\n{output[-6000:]}")
        elif any(child.tag == "skipped" for child in case):
            tally.skipped += 1
        else:
            tally.passed += 1
    return tally, shown


class Progress:
    """What a step is doing: one updating line on a terminal, else a line now and then."""

    def __init__(self, label):
        self.label, self.begin, self.detail = label, time.monotonic(), ""
        self.tty, self.next = sys.stderr.isatty(), 20
        self.finished = threading.Event()
        self.thread = threading.Thread(target=self._show, daemon=True)
        self.thread.start()

    def _show(self):
        while not self.finished.wait(0.5 if self.tty else 2):
            seconds = self.seconds()
            if self.tty:
                sys.stderr.write(f"\r\033[K[{seconds:4.0f} s] {self.label}: {self.detail[:80]}")
                sys.stderr.flush()
            elif seconds >= self.next:
                self.next = seconds + 20
                say(f"[{seconds:4.0f} s] {self.label}: {self.detail[:100]}")

    def seconds(self):
        return time.monotonic() - self.begin

    def end(self, text):
        self.finished.set()
        self.thread.join()
        if self.tty:
            sys.stderr.write("\r\033[K")
        say(f"[{self.seconds():4.0f} s] {self.label}: {text}")


def follow(command, log, progress, limit_s, environment=None):
    """Runs a command with its output in `log` (appended); its exit code, or None when it was out of time."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        file.write(f"$ {shlex.join(map(str, command))}\n".encode())
        file.flush()
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)], cwd=TOP, stdout=file,
                                   stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, **SANITIZERS, **(environment or {})})
    deadline = time.monotonic() + limit_s
    try:
        while True:
            try:
                return process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
            progress.detail = last_line(log)
            if time.monotonic() > deadline:
                return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 15)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def last_line(path):
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 400))
        lines = [line for line in file.read().decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def tail(path, lines=60):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Check:
    """Steps return a Tally and a list of texts to show. A step whose needs failed is a failure itself."""

    def __init__(self):
        self.total, self.broken, self.steps = Tally(), set(), []

    def step(self, name, function, needs=()):
        log = OUT / f"{name.replace(' ', '-')}.log"
        log.unlink(missing_ok=True)
        missing = [need for need in needs if need in self.broken]
        progress = Progress(name)
        if missing:
            tally, shown = Tally(failed=1), [f"not run, because this failed: {', '.join(missing)}"]
        else:
            try:
                tally, shown = function(log, progress)
            except (OSError, ValueError, subprocess.SubprocessError, tasks.Failure) as error:
                tally, shown = Tally(failed=1), [f"{type(error).__name__}: {error}"]
        progress.end(str(tally))
        if tally.failed or not (tally.passed or tally.skipped):
            if not tally.failed:
                tally, shown = Tally(failed=1), ["no test ran"]
            self.broken.add(name)
            for text in shown:
                say(text)
            if log.exists():
                say(f"    the whole log: {log.relative_to(TOP)}")
        self.total += tally
        self.steps.append({"step": name, "seconds": round(progress.seconds(), 1), "passed": tally.passed,
                           "failed": tally.failed, "skipped": tally.skipped})


def command_step(command, limit_s, environment=None):
    """A step that is one command and counts as one test."""
    def function(log, progress):
        code = follow(command() if callable(command) else command, log, progress, limit_s, environment)
        if code == 0:
            return Tally(passed=1), []
        return Tally(failed=1), [tail(log), f"out of time ({limit_s} s)" if code is None else f"exit code {code}"]
    return function


def format_step(log, progress):
    names = tasks.sources(".c", ".h")
    code = follow(["clang-format", "--dry-run", "-Werror", *names], log, progress, 120)
    return (Tally(passed=1), []) if code == 0 else (Tally(failed=1), [tail(log, 20), "./run fmt formats the sources"])


def is_script(name):
    try:
        with open(TOP / name, "rb") as file:
            line = file.readline(40)
    except OSError:
        return False
    return line.startswith(b"#!") and line.rstrip().endswith((b"/sh", b"bash"))


def shellcheck_step(log, progress):
    names = [name for name in tasks.sources("") if name.endswith(".sh") or is_script(name)]
    code = follow(["shellcheck", "-x", *names], log, progress, 120)
    return (Tally(passed=1), []) if code == 0 else (Tally(failed=1), [tail(log)])


def build_step(flavour):
    def function(log, progress):
        setup = tasks.setup_command(flavour)
        for command in [*([setup] if setup else []), ["ninja", "-C", flavour]]:
            code = follow(command, log, progress, 900, tasks.compiler_environment(flavour))
            if code != 0:
                return Tally(failed=1), [tail(log), f"exit code {code} from {shlex.join(command)}"]
        return Tally(passed=1), []
    return function


def tidy_step(log, progress):
    """clang-tidy on each source file, those with known good results aside, for at most eight minutes."""
    deadline = time.monotonic() + 480
    # The fuzzers are in a build of their own; what is in both is read as the first has it.
    flavours = ["build/asan", "build/fuzz"]
    commands = [(flavour, entry) for flavour in flavours
                for entry in json.loads((TOP / flavour / "compile_commands.json").read_text())]
    common = hashlib.sha256(subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout)
    for name in [".clang-tidy", *tasks.sources(".h")]:
        common.update((TOP / name).read_bytes() if (TOP / name).exists() else b"")
    known = OUT.parent / "tidy-known-good"
    known.mkdir(exist_ok=True)
    work, built = {}, {}
    for flavour, entry in commands:
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if path.is_relative_to(TOP) and not path.is_relative_to(TOP / "build"):
            key = hashlib.sha256(common.digest() + path.read_bytes() + entry["command"].encode()).hexdigest()[:24]
            work.setdefault(path, key)
            built.setdefault(path, flavour)
    used = set(work.values())
    for note in known.iterdir():
        if note.name not in used:
            note.unlink()
    todo = [path for path, key in work.items() if not (known / key).exists()]
    done, bad, late = len(work) - len(todo), [], 0

    def one(path):
        left = deadline - time.monotonic()
        if left <= 0:
            return path, None, ""
        try:
            result = subprocess.run(["clang-tidy", "--quiet", "--warnings-as-errors=*", "-p", built[path], str(path)], cwd=TOP,
                                    capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            return path, None, ""
        return path, result.returncode, result.stdout + result.stderr

    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for path, code, output in pool.map(one, todo):
            done += 1
            progress.detail = f"{done} of {len(work)} files"
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{path}: {code}\n{output if code else ''}")
            if code is None:
                late += 1
            elif code:
                bad.append(output)
            else:
                (known / work[path]).touch()
    if late:
        say(f"clang-tidy: {late} of {len(work)} files were not reached in time; the next run goes on with them")
    return Tally(passed=len(work) - len(bad) - late, failed=len(bad), skipped=late), [text[-3000:] for text in bad[:10]]


def unit_step(flavour, slow=1):
    def function(log, progress):
        junit = TOP / flavour / "meson-logs/testlog.junit.xml"
        junit.unlink(missing_ok=True)
        code = follow(["meson", "test", "-C", flavour, "--no-rebuild", "--print-errorlogs", "-t", str(slow)], log, progress, 900)
        tally, shown = read_junit(junit)
        if code != 0 and not tally.failed:
            return Tally(tally.passed, 1, tally.skipped), [tail(log), f"meson test: exit code {code}"]
        return tally, shown
    return function


def pytest_step(paths, flavour, limit_s, options=(), environment=None):
    def function(log, progress):
        junit = log.with_suffix(".xml")
        junit.unlink(missing_ok=True)
        code = follow(["python3", "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={junit}", *options,
                       *paths], log, progress, limit_s,
                      {"PVGPU_BUILD": str(TOP / flavour), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
        if not junit.exists():
            return Tally(failed=1), [tail(log), f"out of time ({limit_s} s)" if code is None else f"pytest: exit code {code}"]
        tally, shown = read_junit(junit)
        if code != 0 and not tally.failed:
            return Tally(tally.passed, 1, tally.skipped), [tail(log), f"pytest: exit code {code}"]
        return tally, shown
    return function


def fuzzers():
    return sorted(path for path in (TOP / "build/fuzz").glob("fuzz-*") if path.is_file() and os.access(path, os.X_OK))


def fuzz_command(program, seconds, artifacts):
    """libFuzzer on its corpus, which grows under build/, and on generated seeds."""
    name = program.name.removeprefix("fuzz-")
    corpus, seeds = TOP / "build/corpus" / name, TOP / "build/corpus-seeds" / name
    for directory in (corpus, artifacts):
        directory.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, str(TOP / "tests/fuzz/make_corpus.py"), name, str(seeds)], check=True)
    return [str(program), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
            f"-artifact_prefix={artifacts}/{name}-", str(corpus), str(seeds)]


def fuzz_step(seconds):
    def function(log, progress):
        programs = fuzzers()
        if not programs:
            return Tally(failed=1), ["the build made no fuzz target"]

        def one(program):
            own = log.with_name(f"{log.stem}-{program.name}.log")
            own.unlink(missing_ok=True)
            return program, own, follow(fuzz_command(program, seconds, OUT / "crashes"), own, progress, seconds * 4 + 60)

        tally, shown = Tally(), []
        with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
            for program, own, code in pool.map(one, programs):
                if code == 0:
                    tally.passed += 1
                else:
                    tally.failed += 1
                    shown.append(f"--- {program.name}: exit code {code}; inputs that failed: build/check/crashes\n{tail(own, 40)}")
        return tally, shown
    return function


def main():
    begin = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "result.json").unlink(missing_ok=True)
    check = Check()
    check.step("clang-format", format_step)
    check.step("shellcheck", shellcheck_step)
    builds = {"gcc": "build", "asan": "build/asan", "tsan": "build/tsan", "fuzz": "build/fuzz"}
    for name, flavour in builds.items():
        check.step(f"build {name}", build_step(flavour))
    check.step("clang-tidy", tidy_step, ["build asan", "build fuzz"])
    check.step("unit tests gcc", unit_step("build"), ["build gcc"])
    check.step("unit tests asan", unit_step("build/asan", 3), ["build asan"])
    check.step("unit tests tsan", unit_step("build/tsan", 5), ["build tsan"])
    check.step("wire tests asan", pytest_step(["tests/wire"], "build/asan", 900), ["build asan"])
    check.step("wire tests tsan", pytest_step(["tests/wire"], "build/tsan", 900, ["-m", "not slow"]), ["build tsan"])
    check.step("venus tests", pytest_step(["tests/venus"], "build/asan", 1800), ["build asan"])
    check.step("OpenGL tests", pytest_step(["tests/gl"], "build", 900), ["build gcc"])
    check.step("fuzz smoke", fuzz_step(15), ["build fuzz"])
    images = "for release in trixie-backports trixie bookworm; do guest/build-image $release; done"
    check.step("guest images", command_step(["sh", "-ec", images], 1800))
    check.step("end-to-end tests", pytest_step(["tests/e2e"], "build/asan", 3000), ["build gcc", "build asan", "guest images"])
    # What a sanitizer build cannot tell.
    check.step("end-to-end cost", pytest_step(["tests/e2e"], "build", 600, ["-k", "test_memory or test_idle or come_and_go"],
                                              {"PVGPU_FRONT_ENDS": "gpu test virgl-vfio"}), ["build gcc", "guest images"])
    seconds = time.monotonic() - begin
    (OUT / "result.json").write_text(json.dumps({
        "passed": check.total.passed, "failed": check.total.failed, "skipped": check.total.skipped,
        "seconds": round(seconds, 1), "steps": check.steps}, indent=2) + "\n")
    if check.broken:
        say(f"failed: {', '.join(step['step'] for step in check.steps if step['failed'])}; logs are in build/check/")
    say(f"{seconds:.0f} s in all")
    print(check.total, flush=True)
    return 1 if check.total.failed else 0
