"""What a run is and what it is called: options, registry, identity."""
