# SPDX-License-Identifier: MIT
"""A virtual machine made of Python: what QEMU and a guest driver do to the device, without either.

    process     the program under test: its log, its descriptors, its end
    memory      guest memory in memfds
    ring        the driver's side of a split virtqueue
    vhost_user  the front end's side of the socket, and the back channel
    console     the VMM's console behind the display socket
    gpu         virtio-gpu commands and responses
    machine     all of it put together
    png         a reader for the pictures that `pvgpu screenshot` writes
"""
