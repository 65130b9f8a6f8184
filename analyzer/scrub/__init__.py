"""Makes captures that can be shared: contents and names replaced, everything else kept."""
