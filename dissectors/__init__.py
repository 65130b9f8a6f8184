"""What the bytes of a QEMU migration mean: layouts, enumerations, dialects.

Nothing here opens a file, a socket or a screen, and nothing here imports ``analyzer``.
"""
