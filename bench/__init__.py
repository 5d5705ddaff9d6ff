"""Speed, side by side with peers, in a process set up as a stage's is."""

import stages  # noqa: F401
