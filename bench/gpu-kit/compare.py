# SPDX-License-Identifier: MIT
"""compare.py NATIVE OURS: results of vk-tests, a line of JSON for each case. Exit code 1 if ours does less than native or other things."""

import json
import pathlib
import sys


def read(path):
    cases = {}
    for line in pathlib.Path(path).read_text(errors="replace").splitlines():
        if line.startswith("{"):
            try:
                result = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "case" in result:
                cases[result["case"]] = result
    return cases


def main():
    native, ours = read(sys.argv[1]), read(sys.argv[2])
    tally = {"same": 0, "neither passes": 0, "worse": 0, "other values": 0}
    for name, theirs in native.items():
        mine = ours.get(name, {"status": "missing", "reason": "the run ended before it", "values": {}})
        if theirs["status"] != "pass":
            verdict = "neither passes" if mine["status"] != "pass" else "same"
        elif mine["status"] != "pass":
            verdict = "worse"
        else:
            verdict = "same" if mine["values"] == theirs["values"] else "other values"
        tally[verdict] += 1
        if verdict != "same":
            print(f"{verdict}: {name}: native {theirs['status']} {theirs['reason']}; ours {mine['status']} {mine['reason']}")
            if verdict == "other values":
                print(f"    native {theirs['values']}\n    ours   {mine['values']}")
    print("== " + ", ".join(f"{count} {verdict}" for verdict, count in tally.items()))
    return 1 if tally["worse"] or tally["other values"] or not native else 0


if __name__ == "__main__":
    sys.exit(main())
