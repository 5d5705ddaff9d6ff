"""The pipeline's stages, one module each: `python -m stages NAME ...` runs one."""
