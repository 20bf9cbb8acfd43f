"""What the emulator stores."""
