"""Speed beside other libraries, in a process that is set up as a stage's (importing `stages` does that)."""

import stages  # noqa: F401
