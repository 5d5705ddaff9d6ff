"""Array shapes written in the signatures are checked while the tests run, and only then; the longest file
runs first, so that no core waits for it at the end."""

from jaxtyping import install_import_hook

hook = install_import_hook("wm", "beartype.beartype")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
