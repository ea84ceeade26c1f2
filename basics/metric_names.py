"""Whether a metric is better low or high, by its name. Imports nothing heavy, for tools that only read runs."""

import re

# Anywhere in a name, so that `val/hardloss`, `val/log_rmse` and `val/top5error` count; these take precedence.
LOWER_PARTS = ("loss", "error", "rmse", "rmsle", "perplexity", "distance", "deviance", "divergence", "entropy")
# As a whole word of a name, between separators.
LOWER_WORDS = frozenset(
    "mse mae mape smape msle mdae err nll bce ce cer wer mer ter fid kid lpips ppl bpc bpd kl kld ece mce brier crps "
    "eer hamming rejection latency seconds".split()
)
HIGHER_PARTS = ("acc", "precision", "recall", "auroc", "f1")
HIGHER_WORDS = frozenset(
    "r2 f2 fbeta auc roc ap map mrr ndcg hit iou miou giou dice jaccard bleu chrf rouge meteor cider spice psnr ssim "
    "mcc kappa matthews pearson spearman kendall corr correlation specificity sensitivity auprc silhouette nmi ari "
    "elbo reward return".split()
)


def mode_of(metric: str) -> str | None:
    """ "min" or "max" if the metric's name tells which is better, as in val/log_rmse; None for others."""
    name = metric.lower()
    words = set(re.split(r"[^a-z0-9]+", name))
    if any(part in name for part in LOWER_PARTS) or words & LOWER_WORDS:
        return "min"
    if any(part in name for part in HIGHER_PARTS) or words & HIGHER_WORDS:
        return "max"
    return None
