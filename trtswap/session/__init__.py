"""One stream of frames on its way through the stages: roles, threads, and who watches."""
