"""How records come in: Faust in chunks, what brokers send on the wire, and which offsets are done.

Every private seam of Faust, mode and aiokafka is in `faust_patches`, and nowhere else. What a record means is decided
behind this room, so it imports only `decode`, for the bounds of a record, and `runtime`.
"""
