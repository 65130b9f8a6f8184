"""Makes captures that can be shared: contents and names are replaced, everything else is kept."""
