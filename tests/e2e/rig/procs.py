# SPDX-License-Identifier: MIT
"""What a host process costs, from /proc: CPU time by thread, memory by kind."""

import collections
import os
import pathlib
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def thread_cpu_s(pid):
    """CPU seconds of each live thread since its start: {(tid, name): seconds}. Nanosecond counts where the kernel has them."""
    times = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            try:
                seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
            except (FileNotFoundError, IndexError):
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        except (FileNotFoundError, ProcessLookupError):
            continue
        times[int(task.name), name] = seconds
    return times


def cpu_s(pid):
    """CPU seconds of the whole process, threads that have ended included (10 ms steps)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class CpuMeter:
    """CPU seconds by group of threads between start() and stop()."""

    def __init__(self, groups):
        """groups: {group: (pid or None, function that says whether a thread of that name belongs to it)}"""
        self.groups = groups
        self.before = None
        self.began = None

    def start(self):
        self.before = self._sample()
        self.began = time.monotonic()

    def stop(self):
        """({group: seconds}, wall seconds)"""
        wall = time.monotonic() - self.began
        after = self._sample()
        used = collections.Counter({name: 0.0 for name in self.groups})
        for key, seconds in after.items():
            used[key[0]] += seconds - self.before.get(key, 0.0)
        return dict(used), wall

    def _sample(self):
        return {(group, pid, tid): seconds
                for group, (pid, wanted) in self.groups.items() if pid
                for (tid, name), seconds in thread_cpu_s(pid).items() if wanted(name)}


def is_vcpu(thread_name):
    return thread_name.startswith("CPU ")


def machine_groups(qemu_pid, device_pid=None):
    """Thread groups of a machine: the guest's own work, the rest of QEMU, our process."""
    return {"guest": (qemu_pid, is_vcpu), "qemu": (qemu_pid, lambda name: not is_vcpu(name)),
            "pvgpu": (device_pid, lambda name: True)}


def memory_bytes(pid):
    """Resident bytes by kind: anonymous, file (program and libraries), shared (guest memory), proportional; and the peak."""
    status = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.strip().endswith("kB"):
            status[name] = int(value.split()[0]) * 1024
    rollup = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        rollup[name] = int(value.split()[0]) * 1024
    return {"anonymous": status["RssAnon"], "file": status["RssFile"], "shared": status["RssShmem"],
            "resident": status["VmRSS"], "peak": status["VmHWM"], "proportional": rollup["Pss"]}


def is_running(pid):
    """False for a process that is gone or only waits to be reaped."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """Process ids of the direct children; none of a process that is gone."""
    found = []
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return found
    for task in tasks:
        try:
            found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread that has just ended
    return found


def with_children(pid):
    """Its process id, those of its children, theirs, and so on."""
    pids, todo = [], [pid]
    while todo:
        pids.append(todo.pop())
        todo += children(pids[-1])
    return pids
