"""Strangers: they connect to a service, send bad input, and have to be refused."""

import asyncio
import json
import random

from barker.links import greeting
from barker.process.arguments import DEFAULT_HOST
from barker.wire import messages, protocol
from barker.wire.ops import Hello, Proof
from barker.wire.rights import SERVICE

# A service has to drop a stranger within this; it gives it five seconds for its hello.
PATIENCE_S = 10.0
WRONG_SECRET = b"x" * 32
NONCE = "0123456789abcdef" * 2
NONSENSE = (
    b"nonsense\n",
    b'{"op":"hello"}\n',
    b'{"op":"put","seq":1,"to":["bizlogic"],"bodies":[{}]}\n',
    b"\x16\x03\x01\x02\x00\x01\x00\n",
    b"x" * (2 * protocol.MAX_LINE_BYTES) + b"\n",
    b"[" * 10_000 + b"\n",
)


async def visit(port: int, dice: random.Random) -> str:
    """Visit that port as a stranger. Returns the service's fault; "" if it refuses."""
    nonsense = dice.choice([*NONSENSE, b""])
    try:
        reader, writer = await asyncio.open_connection(DEFAULT_HOST, port, limit=1 << 20)
    except OSError:
        return ""  # it is not there at the moment
    try:
        async with asyncio.timeout(PATIENCE_S):
            if nonsense:
                writer.write(nonsense)
            else:
                writer.write(messages.encode(Hello(protocol.VERSION, SERVICE, NONCE)) + b"\n")
                answer = json.loads(await reader.readline() or b"{}")
                nonces = NONCE, str(answer.get("nonce"))
                mac = greeting.mac(WRONG_SECRET, greeting.OPENER, SERVICE, *nonces)
                writer.write(messages.encode(Proof(mac, "stranger")) + b"\n")
            heard = await reader.read(-1)
            if b'"proof"' in heard:
                return "proves itself to a stranger that does not know the secret"
    except TimeoutError:
        return f"does not close a connection on which a stranger said {nonsense[:20]!r}"
    except (OSError, ValueError):
        pass  # it hung up
    finally:
        writer.transport.abort()
    return ""
