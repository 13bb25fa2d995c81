"""One module per subcommand of `gptcore`; torch is imported only when one that needs it runs."""
