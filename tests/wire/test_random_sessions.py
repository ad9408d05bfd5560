# SPDX-License-Identifier: MIT
"""Valid sessions, bent at random (with fixed seeds): the program outlives them all and forgets each one whole."""

import os
import random

import pytest

from test_hostile_messages import check_server, send_and_leave, server
from wirelib import vhost_user as vu
from wirelib.session import Session

assert server  # a fixture
SESSIONS_PER_SEED = 40


def bent(random_, messages):
    """A copy with a few things wrong."""
    chunks = [(bytearray(data), list(fds)) for data, fds in messages]
    spare = [fd for _, fds in messages for fd in fds]
    for _ in range(random_.randrange(1, 6)):
        at = random_.randrange(len(chunks))
        data, fds = chunks[at]
        kind = random_.randrange(9)
        if kind == 0 and data:
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        elif kind == 1 and len(data) > 12:
            data[random_.randrange(12, len(data))] = random_.choice((0, 0xFF, 0x80, 1))
        elif kind == 2 and len(data) > 12:
            start = random_.randrange(12, len(data))
            data[start:start + 8] = random_.choice((b"\xff" * 8, bytes(8), b"\0" * 7 + b"\x80"))[:len(data) - start]
        elif kind == 3:
            del chunks[at]
        elif kind == 4:
            chunks.insert(random_.randrange(len(chunks)), (bytearray(data), list(fds)))
        elif kind == 5:
            other = random_.randrange(len(chunks))
            chunks[at], chunks[other] = chunks[other], chunks[at]
        elif kind == 6:
            fds[:] = random_.sample(spare, random_.randrange(min(4, len(spare))))
        elif kind == 7:
            del data[random_.randrange(len(data) + 1):]
        else:
            chunks.insert(at, (bytearray(vu.header(random_.randrange(50), 8, random_.choice((1, 9))) + random_.randbytes(8)), []))
        if not chunks:
            return []
    return [(bytes(data), fds) for data, fds in chunks if data]


@pytest.mark.parametrize("seed", range(8))
def test_bent_sessions(server, seed):
    random_ = random.Random(seed)
    with Session(server.machine()) as session:
        for _ in range(SESSIONS_PER_SEED):
            for ring in session.machine.rings:
                os.eventfd_write(ring.kick_fd, 1)
            send_and_leave(server, bent(random_, session.messages))
    check_server(server)
