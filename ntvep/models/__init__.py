"""tokens -> log-probabilities and embeddings: the only room that imports torch and transformers."""
