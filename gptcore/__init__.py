"""gptcore computes: token files and parameters in, models and metrics out. It knows no Prefect and no DVC."""
