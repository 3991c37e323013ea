"""Models that other programs serve, asked by the completions and chat protocols of OpenAI."""
