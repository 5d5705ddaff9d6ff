"""params.yaml as frozen pydantic models, one module per section. Imports neither JAX nor Gymnasium."""
