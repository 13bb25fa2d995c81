"""The names of what benchmarks ask and measure: lm-eval's, and acc_per_token, which is OLMES's. Imports nothing."""

METRICS = {  # by what a benchmark asks
    "multiple_choice": ("acc", "acc_norm", "acc_bytes", "acc_per_token"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}
LOWER_IS_BETTER = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
