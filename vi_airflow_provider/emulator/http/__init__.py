"""The emulator's HTTP side."""
