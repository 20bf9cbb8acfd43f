"""The documents of the emulated organization and the rules by which they change."""
