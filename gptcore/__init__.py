"""gptcore turns token files and parameters into models and metrics. It does not depend on Prefect or DVC."""
