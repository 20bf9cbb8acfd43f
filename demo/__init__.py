"""The demonstration: the example DAGs run against the emulator. Not part of the wheel."""
