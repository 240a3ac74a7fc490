"""The names of what ``interop bench`` measures."""

MEASURES = ("first_frame", "import", "turn_cost", "round_trip", "bandwidth", "ring", "staged")
