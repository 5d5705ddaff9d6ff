"""Names in params.yaml that are also names of folders."""

INIT = "init"  # the untrained models and the scripted drives that the first round starts from
