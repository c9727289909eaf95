"""Plays the `interaction` scenarios: a few cores, a network and a clock that stands until it is set.

    nodes 1 2 3 [with limit=value ...]    found a group; join 4: a node that knows nobody yet
    log 2 holds 1 1 4 [in term 6]         give a node of the group a log with entries of these terms
    wait 500; tick 1; pass 300            set the clock; let a node notice; both, every 10 ms, for all
    campaign 1; elect 1 [2 3]             wait 500 and tick 1; the same and settle, among these
    propose 1 x; change 1 add 4 ...; read 1 7; lease 1; transfer 1 to 2; request 2; announce 1 to 2
    ready 1; stabilize [1 2]; settle      one Ready; all of them and all messages; leaders' ticks too
    deliver 1->2; drop 1->2; copy 1->2    messages on their way, `network.Selector`; copy delivers and keeps
    hold 1->2; release 1->2; lose 1->*; heal [1->*]
    slow 1; sync 1 [first]; fast 1        whether Readys reach the disk at once
    crash 1; restart 1; compact 1 to 5
    checkpoint 1; snapshot 1 to 3         keep 1's state; bring that, or its state of now, to 3, and say so
    snapshot 1 to 3 [untold|failed]       without telling the core of 1; tell it that nothing arrived
    status [1]; logs; waiting

`quietly` behind a command leaves its transcript out. After each command these are checked: one leader a term,
and the same entries applied everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from raftkv.raft import (
    COMMAND,
    LEADER,
    ChangeRefused,
    Entry,
    EntryId,
    Message,
    NotLeader,
    ProposalDropped,
    ProtocolError,
    RaftConfig,
    RaftCore,
)
from tests.raft.nodes import NS_PER_MS, TIMEOUT_MS
from tests.scenarios.actor import Actor, StateAt
from tests.scenarios.change_words import parse_change
from tests.scenarios.network import ScriptNetwork, Selector
from tests.scenarios.script import ScriptError
from tests.scenarios.status_words import log_words, status_words
from tests.scenarios.words import entry_words, id_words, message_words

_ROUNDS_MAX = 200
_TICK_MS = 10
_REFUSALS = (NotLeader, ProposalDropped, ChangeRefused, ValueError)


class InteractionPlayer:
    """A group of nodes that commands act on."""

    def __init__(self) -> None:
        self._actors: dict[int, Actor] = {}
        self._network = ScriptNetwork()
        self._now_ms = 0
        self._limits: dict[str, int] = {}
        self._checkpoints: dict[int, StateAt] = {}
        self._lines: list[str] = []
        self._leaders: dict[int, int] = {}
        self._applied: dict[int, str] = {}

    def play(self, words: list[str]) -> list[str]:
        """Carry out one command. Raises ScriptError."""
        is_quiet = words[-1] == "quietly"
        words = words[:-1] if is_quiet else words
        command: Callable[[list[str]], None] | None = getattr(self, f"_play_{words[0]}", None)
        if command is None:
            raise ScriptError(f"unknown command {words[0]}")
        self._lines = []
        command(words[1:])
        self._notice()
        self._check()
        return [] if is_quiet else self._lines

    # --- nodes ----------------------------------------------------------------------------------

    def _play_nodes(self, words: list[str]) -> None:
        ids = words[: words.index("with")] if "with" in words else words
        pairs = [pair.split("=") for pair in words[len(ids) + 1 :]]
        self._limits = {name: int(value) for name, value in pairs}
        for node_id in ids:
            self._add(int(node_id), tuple(int(each) for each in ids))

    def _play_join(self, words: list[str]) -> None:
        self._add(int(words[0]), ())

    def _play_log(self, words: list[str]) -> None:
        node_id, holds, *rest = words
        if holds != "holds":
            raise ScriptError("log N holds TERM ...")
        terms = [int(term) for term in (rest[: rest.index("in")] if "in" in rest else rest)]
        term = int(rest[-1]) if "in" in rest else terms[-1]
        entries = [Entry(each, index, COMMAND, b"old") for index, each in enumerate(terms, 1)]
        voters = self._actors[int(node_id)].config.voters
        self._add(int(node_id), voters, entries, term=term)

    def _add(
        self, node_id: int, voters: tuple[int, ...], entries: list[Entry] | None = None, *, term: int = 0
    ) -> None:
        config = RaftConfig(node_id=node_id, voters=voters, **self._limits)
        self._actors[node_id] = Actor(config, entries or (), term=term)
        self._actors[node_id].start(self._now_ms * NS_PER_MS)

    def _play_crash(self, words: list[str]) -> None:
        for actor in self._named(words):
            actor.crash()

    def _play_restart(self, words: list[str]) -> None:
        for actor in self._named(words):
            actor.start(self._now_ns)

    # --- time -----------------------------------------------------------------------------------

    @property
    def _now_ns(self) -> int:
        return self._now_ms * NS_PER_MS

    def _play_wait(self, words: list[str]) -> None:
        self._now_ms += int(words[0])

    def _play_tick(self, words: list[str]) -> None:
        for actor in self._named(words):
            actor.running.tick(self._now_ns)
            self._notice()

    def _play_pass(self, words: list[str]) -> None:
        for _ in range(int(words[0]) // _TICK_MS):
            self._now_ms += _TICK_MS
            self._play_tick([])
            self._play_stabilize([])

    def _play_campaign(self, words: list[str]) -> None:
        self._play_wait([str(TIMEOUT_MS)])
        self._play_tick(words)

    def _play_elect(self, words: list[str]) -> None:
        self._play_campaign(words[:1])
        self._play_settle(words if len(words) > 1 else [])

    # --- requests -------------------------------------------------------------------------------

    def _ask(self, node_id: str, request: Callable[[RaftCore], EntryId | None]) -> None:
        try:
            entry_id = request(self._core(node_id))
        except _REFUSALS as refusal:
            self._lines.append(f"{node_id} refuses: {refusal}")
        else:
            self._lines += [f"as {id_words(entry_id)}"] if entry_id is not None else []

    def _play_propose(self, words: list[str]) -> None:
        for payload in words[1:]:
            self._ask(words[0], partial(RaftCore.propose, payload=payload.encode()))

    def _play_change(self, words: list[str]) -> None:
        change = parse_change(words[1:])
        self._ask(words[0], lambda core: core.change_membership(change, self._now_ns))

    def _play_read(self, words: list[str]) -> None:
        for context in words[1:]:
            self._ask(words[0], partial(RaftCore.read_index, context=int(context), now_ns=self._now_ns))

    def _play_lease(self, words: list[str]) -> None:
        is_valid = self._core(words[0]).lease_is_valid(self._now_ns)
        self._lines.append(f"the lease of {words[0]} {'holds' if is_valid else 'does not hold'}")

    def _play_transfer(self, words: list[str]) -> None:
        self._ask(words[0], lambda core: core.transfer_leadership(int(words[2]), self._now_ns))

    def _play_request(self, words: list[str]) -> None:
        self._ask(words[0], lambda core: core.request_leadership(self._now_ns))

    def _play_announce(self, words: list[str]) -> None:
        self._core(words[0]).announce_commit([int(each) for each in words[2:]])

    # --- Readys and messages --------------------------------------------------------------------

    def _play_ready(self, words: list[str]) -> None:
        for actor in self._named(words):
            self._turn(actor)

    def _play_stabilize(self, words: list[str]) -> None:
        actors = [actor for actor in self._named(words) if actor.core is not None]
        receivers = {int(word) for word in words}
        for _ in range(_ROUNDS_MAX):
            is_moving = False
            for actor in actors:
                while actor.running.has_ready():
                    is_moving = True
                    self._turn(actor)
            for msg in self._network.take_for(receivers):
                is_moving = True
                self._deliver(msg)
            if not is_moving:
                return
        raise ScriptError("it never comes to rest")

    def _play_settle(self, words: list[str]) -> None:
        self._play_stabilize(words)
        for _ in range(_ROUNDS_MAX):
            leaders = [each for each in self._named(words) if each.core and each.core.role is LEADER]
            for actor in leaders:
                actor.running.tick(self._now_ns)
            if not any(actor.running.has_ready() for actor in leaders):
                return
            self._play_stabilize(words)
        raise ScriptError("it never comes to rest")

    def _play_deliver(self, words: list[str]) -> None:
        for msg in self._chosen(words):
            self._lines.append(f"delivered: {message_words(msg)}")
            self._deliver(msg)

    def _play_copy(self, words: list[str]) -> None:
        chosen = self._chosen(words)
        self._network.send(chosen)
        for msg in chosen:
            self._lines.append(f"delivered, and on its way once more: {message_words(msg)}")
            self._deliver(msg)

    def _play_drop(self, words: list[str]) -> None:
        self._lines += [f"lost: {message_words(msg)}" for msg in self._chosen(words)]

    def _play_waiting(self, _words: list[str]) -> None:
        self._lines += [message_words(msg) for msg in self._network.waiting] or ["nothing"]

    def _play_hold(self, words: list[str]) -> None:
        self._network.hold(words)

    def _play_release(self, words: list[str]) -> None:
        self._network.release(words)

    def _play_lose(self, words: list[str]) -> None:
        self._network.lose(words)

    def _play_heal(self, words: list[str]) -> None:
        self._network.heal(words)

    def _chosen(self, words: list[str]) -> list[Message]:
        chosen = self._network.take(Selector(words))
        if not chosen:
            raise ScriptError("no such message is on its way")
        return chosen

    def _turn(self, actor: Actor) -> None:
        self._send(actor.turn(self._lines))
        self._notice()

    def _send(self, messages: Iterable[Message]) -> None:
        for msg in messages:
            self._lines.append(message_words(msg))
            self._network.send([msg])

    def _deliver(self, msg: Message) -> None:
        actor = self._actors.get(msg.to)
        if actor is None or actor.core is None or self._network.loses(msg):
            self._lines.append(f"lost: {message_words(msg)}")
            return
        try:
            actor.core.step(msg, self._now_ns)
        except ProtocolError as error:
            self._lines.append(f"{msg.to} closes the connection: {error}")
        self._notice()

    # --- disks and snapshots --------------------------------------------------------------------

    def _play_slow(self, words: list[str]) -> None:
        for actor in self._named(words):
            actor.is_slow = True

    def _play_fast(self, words: list[str]) -> None:
        for actor in self._named(words):
            actor.is_slow = False
        self._play_sync(words)

    def _play_sync(self, words: list[str]) -> None:
        self._send(self._actors[int(words[0])].sync(1 if words[1:] == ["first"] else None))

    def _play_compact(self, words: list[str]) -> None:
        self._actors[int(words[0])].compact(int(words[2]))

    def _play_checkpoint(self, words: list[str]) -> None:
        state = self._actors[int(words[0])].state
        self._checkpoints[int(words[0])] = state
        self._lines.append(f"{words[0]} keeps its state up to {id_words(state.entry_id)}")

    def _play_snapshot(self, words: list[str]) -> None:
        sender, _, to, *fate = words
        if fate == ["failed"]:
            self._core(sender).snapshot_ended(int(to), 0)
            return
        state = self._checkpoints.get(int(sender), self._actors[int(sender)].state)
        receiver = self._actors[int(to)]
        receiver.received = state
        is_restored = receiver.running.restore(state.entry_id, state.membership)
        verdict = "takes" if is_restored else "needs no"
        self._lines.append(f"{to} {verdict} snapshot up to {id_words(state.entry_id)}")
        self._notice()
        if receiver.running.has_ready():
            self._turn(receiver)
        if fate != ["untold"]:
            self._core(sender).snapshot_ended(int(to), state.entry_id.index)

    # --- looking --------------------------------------------------------------------------------

    def _play_status(self, words: list[str]) -> None:
        for actor in self._named(words):
            self._lines += status_words(actor.running.status(self._now_ns))

    def _play_logs(self, words: list[str]) -> None:
        self._lines += [log_words(actor) for actor in self._named(words)]

    def _named(self, words: list[str]) -> list[Actor]:
        """Return the actors that a command names; all that run if it names none."""
        if words:
            return [self._actors[int(word)] for word in words]
        return [actor for _, actor in sorted(self._actors.items()) if actor.core is not None]

    def _core(self, node_id: str) -> RaftCore:
        return self._actors[int(node_id)].running

    def _notice(self) -> None:
        for _, actor in sorted(self._actors.items()):
            self._lines += actor.changes()

    def _check(self) -> None:
        """Hold the nodes against Raft Figure 3: Election Safety, and State Machine Safety."""
        for actor in self._named([]):
            core = actor.running
            if core.role is LEADER:
                leader = self._leaders.setdefault(core.current_term, actor.node_id)
                assert leader == actor.node_id, f"two leaders of term {core.current_term}"
            for index in range(actor.log.first_index, actor.state.entry_id.index + 1):
                words = entry_words(actor.log.entries[index - actor.log.first_index])
                assert self._applied.setdefault(index, words) == words, (
                    f"node {actor.node_id} applied {words}"
                )
