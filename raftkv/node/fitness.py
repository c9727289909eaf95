"""Whether this node should lead, take writes and trust leases, by what its disk and its clock are like.

Watches, and tells the group. Knows nothing of connections.

**A disk that hangs** (`disk_watch`). A leader's heartbeats don't touch its disk, so the others would follow
it for as long as it hangs, while every write waits for both of them. It names the follower that has most of
the log as its successor and steps down; until the disk was well for a while it doesn't campaign and takes no
leadership over. If the event loop itself hangs, in a write say, none of this runs: see `watchdog`.

**A disk that is nearly full** (`disk_space`). A failed write stops a node, and disks that hold the same log
fill up together. So writes are refused long before, with a definite error:

* A leader that is short of space hands over to a follower that isn't, and refuses writes if there is none.
* A follower that is short tells its leader so, once a second. The leader refuses writes while fewer voters
  than a majority have room: were they taken, the others' disks would fill up, they would stop, and nothing
  could be read either. With a majority that has room it goes on. A member that is short may stop in the end,
  as one does whose disk failed; it says so in its log, INFO and `raftkv status` long before.
* A follower that is short refuses writes that its own clients would have passed on (`standalone_port`): it
  can't tell whether the leader will take them, and what the leader leaves has no definite answer.

All writes are refused, deletions too, as Redis does with MISCONF: each takes room in the log first, and what
it deletes is given back by a compaction much later, if at all. Due keys are still removed: without that they
could not be read as gone, and there are only so many. To delete by hand lower `disk_free_min` for a moment.

**A clock that can't be trusted** (`clock_guard`). Lease reads become ReadIndex reads until it was right for
ten seconds. After a jump the node also keeps its promises for another election timeout, for it can't tell
how long ago it heard the leader.
"""

from __future__ import annotations

import logging
from typing import Final

from raftkv.commands.session import FitnessStatus
from raftkv.config import Config
from raftkv.node.clock_guard import ClockGuard, Fault
from raftkv.node.disk_space import DiskSpace
from raftkv.node.disk_watch import DiskWatch
from raftkv.node.group import Group
from raftkv.raft import NOBODY

log = logging.getLogger(__name__)

#: Ticks between two looks at the disk's space: a second.
_TICKS_PER_LOOK: Final = 100
#: Nanoseconds for which a follower's word that it is short of space holds, or its silence is overlooked.
_WORD_NS: Final = 5_000_000_000
#: Looks before the first attempt to hand over to a follower with more space, so that those who are short too
#: have said so; and between two attempts.
_LOOKS_BEFORE_HAND_OVER: Final = 2
_LOOKS_PER_HAND_OVER: Final = 10


class Fitness:
    """One node's, for its group."""

    def __init__(self, group: Group, disk: DiskWatch, space: DiskSpace, clock_guard: ClockGuard) -> None:
        self._group = group
        self._disk = disk
        self._space = space
        self._clock_guard = clock_guard
        self._was_stalled = self._was_short = False
        self._was_trusted = True
        self._ticks_count = 0
        #: Looks that this node has been leading and short of space for.
        self._short_looks_count = 0

    def adopt(self, config: Config) -> None:
        """Go by these settings from now on."""
        self._disk.config = self._space.config = config

    def on_tick(self) -> None:
        """Look at everything; before the group's tick, which counts on the clock. Raises ClockBroken."""
        self.look_at_clock()
        self._disk.on_tick(self._group.clock.now_ns())
        if self._disk.is_stalled is not self._was_stalled:
            self._was_stalled = self._disk.is_stalled
            self._on_stall_changed()
        self._ticks_count += 1
        if self._ticks_count % _TICKS_PER_LOOK == 0:
            self._look_at_space()

    def status(self) -> FitnessStatus:
        """A fresh look, but for the space, which is up to a second old."""
        return FitnessStatus(
            free_bytes=self._space.free_bytes,
            free_bytes_min=self._space.floor_bytes,
            is_short_of_space=self._space.is_short,
            is_refusing_writes=self._group.proposals.is_refusing,
            is_disk_stalled=self._disk.is_stalled,
            disk_stalls_count=self._disk.stalls_count,
            is_clock_trusted=self._clock_guard.is_trusted,
            clock_faults_count=self._clock_guard.faults_count,
        )

    # -- the clock --------------------------------------------------------------------------

    def look_at_clock(self) -> None:
        """Compare the clocks; also before a vote is given. Raises ClockBroken."""
        guard, core = self._clock_guard, self._group.core
        fault = guard.look()
        if fault is Fault.JUMP:
            core.distrust_clock(self._group.clock.now_ns())
        elif fault is Fault.RATE:
            core.distrust_leases()
        if guard.is_trusted is self._was_trusted:
            return
        self._was_trusted = guard.is_trusted
        if fault is not None:
            log.warning("the clock %s: reads go by ReadIndex until it is right again", fault.value)
        else:
            core.trust_clock()
            log.info("the clock is right again: leases are trusted")

    # -- a disk that hangs ------------------------------------------------------------------

    def _on_stall_changed(self) -> None:
        group = self._group
        if not self._disk.is_stalled:
            log.info("the disk answers again: this node may lead")
            group.core.stand_again()
            return
        log.warning("an fsync of the Raft log hangs: this node won't lead until the disk is well again")
        if group.has_peers:
            group.core.step_down(group.clock.now_ns())
            group.wake()

    # -- a disk that is nearly full ---------------------------------------------------------

    def _look_at_space(self) -> None:
        space, group = self._space, self._group
        space.sample()
        if space.is_short is not self._was_short:
            self._was_short = space.is_short
            log.log(
                logging.WARNING if space.is_short else logging.INFO,
                "the disk has %d MB left, %s disk_free_min (%d MB)",
                space.free_bytes >> 20,
                "less than" if space.is_short else "enough for",
                space.floor_bytes >> 20,
            )
        was_refusing = group.proposals.is_refusing
        is_refusing = self._must_refuse()
        if is_refusing is not was_refusing:
            group.proposals.is_refusing = is_refusing
            log.log(
                logging.WARNING if is_refusing else logging.INFO,
                "writes are %s",
                "refused for want of disk space" if is_refusing else "taken again",
            )
        if space.is_short and not group.is_leader and group.leader_id != NOBODY:
            group.proposals.tell_of_shortage()

    def _must_refuse(self) -> bool:
        group, is_short = self._group, self._space.is_short
        if not (group.is_leader and is_short):
            self._short_looks_count = 0
        if not group.is_leader:
            return is_short
        now_ns = group.clock.now_ns()
        shortages = group.proposals.shortages_since(now_ns - _WORD_NS)
        voters = group.core.membership.voters
        peers = [peer for peer in group.core.status(now_ns).peers if peer.node_id in voters]
        roomy = [
            peer.node_id
            for peer in peers
            if peer.node_id not in shortages
            and (peer.heard_ms_ago is None or peer.heard_ms_ago * 1_000_000 < _WORD_NS)
        ]
        if not is_short:
            return bool(shortages) and 1 + len(roomy) <= (1 + len(peers)) // 2
        if not roomy:
            return True
        looks_count = self._short_looks_count - _LOOKS_BEFORE_HAND_OVER
        self._short_looks_count += 1
        if looks_count >= 0 and looks_count % _LOOKS_PER_HAND_OVER == 0:
            successor = group.hand_over(avoid=shortages)
            log.info("short of disk space: leadership is handed to node %d", successor)
        # Once it was offered, and not taken, there is no other way.
        return looks_count > 0 or group.proposals.is_refusing
