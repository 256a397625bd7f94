"""Video in and out: ``reader`` and ``writer`` are the entrances, every other module does one job for them."""
