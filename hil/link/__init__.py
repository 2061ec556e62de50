"""The link between host and firmware: tables, frames, receiver, device."""
