"""How records come in: Faust in chunks, what brokers send on the wire, and which offsets are done.

Every private seam of Faust and aiokafka is here. What a record means is decided behind it, so this room imports only
`decode`, for the bounds of a record, and `runtime`.
"""
