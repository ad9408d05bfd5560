# SPDX-License-Identifier: MIT
"""What the end-to-end tests, the demo and the benchmarks share: pictures, our process, whole machines."""
