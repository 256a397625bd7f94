"""From the graphs of a pack to TensorRT plans: settings, builds, the cache of builds, and the proof of each plan."""
