"""Recovery: a journal is played back before anything else is done."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from barker.disk.nojournal import AnyJournal
from barker.process.node import Node, log
from barker.wire.messages import decode_record
from barker.wire.protocol import BarkerError
from barker.wire.records import Record

# How long records are played back between two turns of the loop, so that Ctrl-C works. A number of
# records would be no measure: some hold one bark, some a hundred.
REPLAY_SLICE_S = 0.02
# Exceptions that a senseless record may raise in its replay. No file keeps a service from starting,
# not even an earlier version's.
_NONSENSE = (
    *(ArithmeticError, AssertionError, AttributeError),
    *(LookupError, TypeError, ValueError),
)


async def recover(
    node: Node,
    journal: AnyJournal,
    replay: Callable[[int, Record], None],
    header: Callable[[], dict[str, Any]],
) -> bool:
    """Have `replay` apply each record, with the segment it is in; then begin to write.

    `header` has all that must be known if all segments before the one to be written are gone. A
    senseless record is reported and skipped. False if the node is stopped meanwhile.
    """
    log.debug("recovering from %d segments", len(journal.segments))
    begun, records = node.now(), 0
    looked = begun
    for segment, line in journal.recover():
        if line is not None:
            records += 1
            try:
                replay(segment, decode_record(line))
            except (BarkerError, *_NONSENSE) as fault:
                log.warning("a record of segment %d makes no sense: %r", segment, fault)
                journal.report_damage()
        if node.now() - looked > REPLAY_SLICE_S:
            await asyncio.sleep(0)
            looked = node.now()
            if node.is_stopping:
                return False
    with contextlib.suppress(OSError):  # until it can be written, puts are refused
        journal.begin(header)
    if records:
        log.info("recovered from %d records in %.2f s", records, node.now() - begun)
    return True
