# SPDX-License-Identifier: MIT
"""Measured figures: medians with their spread, ratios, the machine they were measured on, tables."""

import os
import pathlib
import platform
import statistics
import subprocess


def summary(values):
    """Median, extremes and count of a list of numbers."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "count": len(values)}


def short(number):
    """Three or four significant digits, no exponent."""
    if number is None:
        return "-"
    if number == 0:
        return "0"
    magnitude = abs(number)
    digits = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2 if magnitude >= 1 else 3
    return f"{number:.{digits}f}"


def spread(figure):
    """`median [min to max]` of a summary."""
    if figure is None:
        return "-"
    return f"{short(figure['median'])} [{short(figure['min'])} to {short(figure['max'])}]"


def table(header, rows):
    """Columns as wide as their widest cell; the first is left-aligned, the others right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
             for row in cells]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(header, rows):
    """The same as Markdown; the first column left-aligned, the others right."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [header, *rows]]
    lines.insert(1, "|---|" + "---:|" * (len(header) - 1))
    return "\n".join(lines)


def host():
    """The machine, in words and numbers that other runs can be compared by."""
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory_kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)), "memory_mib": memory_kib // 1024,
            "kernel": platform.release(), "load_1_min": os.getloadavg()[0]}


def first_line(*command):
    """The first line a command prints, "" if it fails: for version numbers."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (result.stdout or result.stderr).strip().splitlines()
    return lines[0] if result.returncode == 0 and lines else ""
