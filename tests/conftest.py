"""Array shapes written in the signatures are checked while the tests run, and only then."""

from jaxtyping import install_import_hook

hook = install_import_hook("wm", "beartype.beartype")
