"""What must hold after every step, one file per property.

`state_machine_safety` comes first: it keeps the ledger of what is committed, which others look into.
"""

from tests.simulator.properties.acknowledged_writes import AcknowledgedWrites
from tests.simulator.properties.applied_within_log import AppliedWithinLog
from tests.simulator.properties.election_safety import ElectionSafety
from tests.simulator.properties.hard_state import HardStateNeverForgotten
from tests.simulator.properties.leader_append_only import LeaderAppendOnly
from tests.simulator.properties.leader_completeness import LeaderCompleteness
from tests.simulator.properties.linearizable_reads import LinearizableReads
from tests.simulator.properties.log_matching import LogMatching
from tests.simulator.properties.membership_in_force import MembershipInForce
from tests.simulator.properties.property import Ledger, Property, Violation
from tests.simulator.properties.refused_writes import RefusedWrites
from tests.simulator.properties.state_machine_safety import StateMachineSafety

ALL_PROPERTIES: tuple[type[Property], ...] = (
    StateMachineSafety,
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    HardStateNeverForgotten,
    AppliedWithinLog,
    AcknowledgedWrites,
    RefusedWrites,
    LinearizableReads,
    MembershipInForce,
)

__all__ = [
    "ALL_PROPERTIES",
    "AcknowledgedWrites",
    "AppliedWithinLog",
    "ElectionSafety",
    "HardStateNeverForgotten",
    "LeaderAppendOnly",
    "LeaderCompleteness",
    "Ledger",
    "LinearizableReads",
    "LogMatching",
    "MembershipInForce",
    "Property",
    "RefusedWrites",
    "StateMachineSafety",
    "Violation",
]
