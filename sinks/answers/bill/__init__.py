"""What a provider's own export says beside what is stored: read, matched by day and model, compared, and explained.

A format is a list of columns and a function of one record. A reason for a difference is a case of ``reasons.py``. The
bill is only compared with: no figure is taken from it. This room gets bytes and rows and gives back values. It opens no
file, asks no warehouse and no Kafka, and knows no clock.
"""

from sinks.answers.bill.comparison import Comparison, Ours, Row, Total, compared, span_of, stored_of
from sinks.answers.bill.lines import FIGURES, BillRefused, Export, Figures
from sinks.answers.bill.reading import FILE_BYTES_MAX, PROVIDERS, export_of
from sinks.answers.bill.reasons import Reason, Told, told
from sinks.answers.bill.theirs import Span

__all__ = [
    "FIGURES",
    "FILE_BYTES_MAX",
    "PROVIDERS",
    "BillRefused",
    "Comparison",
    "Export",
    "Figures",
    "Ours",
    "Reason",
    "Row",
    "Span",
    "Told",
    "Total",
    "compared",
    "export_of",
    "span_of",
    "stored_of",
    "told",
]
