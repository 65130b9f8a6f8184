"""What all tests share: an internal error fails a test, instead of becoming a message."""

from __future__ import annotations

import os

from analyzer.errors import DEBUG

os.environ[DEBUG] = "1"
