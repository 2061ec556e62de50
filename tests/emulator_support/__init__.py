"""What the emulator's tests share: small programs and how to build them."""
