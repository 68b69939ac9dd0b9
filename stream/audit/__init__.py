"""The audit: proof of guarantee 4, and the repair of what it finds (docs/audit.md).

``checks`` asks, on the ``ground`` that can be compared, ``queries`` is how, ``budget_sums`` of budgets; ``ledger``,
``kafka`` and ``vanished`` judge the offsets, ``adjustments`` the costs that were priced anew, ``costs`` those of a
sample; ``report`` is the answer. ``corrections`` set rollups right, for ``repair``, ``rebuild``, and ``filling`` where
budgets are new. ``schedule`` is when a worker audits by itself.
"""

from stream.audit.checks import AuditCancelled, audit, writing_since
from stream.audit.kafka import KafkaFacts, kafka_facts
from stream.audit.repair import Repairs, repair
from stream.audit.report import AuditReport, Check, Finding, PartitionTotals
from stream.audit.vanished import accept_vanished

__all__ = [
    "AuditCancelled",
    "AuditReport",
    "Check",
    "Finding",
    "KafkaFacts",
    "PartitionTotals",
    "Repairs",
    "accept_vanished",
    "audit",
    "kafka_facts",
    "repair",
    "writing_since",
]
