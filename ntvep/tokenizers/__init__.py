"""windows -> tokens, one module a kind of tokenizer: the only room for token arithmetic."""
