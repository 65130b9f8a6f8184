"""Display filters: a language like Wireshark's over the packet table."""
