"""What the subcommands of ``mfshark`` do, one module each."""
