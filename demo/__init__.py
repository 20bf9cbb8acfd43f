"""The project's own demonstration: the example DAGs at work on the emulator. Not part of the wheel."""
