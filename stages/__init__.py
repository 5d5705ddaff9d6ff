"""One module a stage. While `python -m stages.<name>` still imports, Ctrl-C ends it without a word."""

import signal
import sys

if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `config.run`
