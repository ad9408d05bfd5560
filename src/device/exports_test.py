# SPDX-License-Identifier: MIT
"""The shared library exports what the public headers declare, no more and no less: exports_test.py LIBRARY HEADER..."""

import pathlib
import re
import subprocess
import sys

library, *headers = sys.argv[1:]
declared = set()
for header in headers:
    text = re.sub(r"/\*.*?\*/", "", pathlib.Path(header).read_text(encoding="utf-8"), flags=re.DOTALL)
    # The function's name is the first one with a parenthesis behind it.
    declared.update(re.search(r"\b(pv_\w+)\s*\(", rest)[1] for rest in re.split(r"^PV_API\b", text, flags=re.MULTILINE)[1:])

listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
# A sanitizer's runtime adds names of its own.
exported = {name for name in (line.split()[-1].split("@")[0] for line in listing.splitlines() if line)
            if name.startswith("pv_")}

for what, names in (("declared but not exported", declared - exported), ("exported but not declared", exported - declared)):
    if names:
        print(f"{what}: {' '.join(sorted(names))}")
print(f"{len(declared)} functions declared, {len(exported)} exported")
sys.exit(not declared or declared != exported)
