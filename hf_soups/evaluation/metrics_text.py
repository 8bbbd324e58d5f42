"""The metrics of answers that are texts, or losses of tokens."""

from __future__ import annotations

from hf_soups.evaluation import scores, scores_edits, scores_losses, scores_overlap
from hf_soups.evaluation.metrics import built_in, table

LANGUAGE_MODEL = table(
    built_in("perplexity", scores_losses.sums, scores_losses.perplexity, False, "losses", (1.0, None)),
    built_in("loss", scores_losses.sums, scores_losses.per_token, False, "losses", (0.0, None)),
    built_in("bits_per_byte", scores_losses.sums, scores_losses.bits_per_byte, False, "losses", (0.0, None)),
)

SUMMARIES = table(
    built_in("rougeL", scores_overlap.rouge_l, scores.mean, consumes="texts"),
    built_in("rouge1", scores_overlap.rouge(1), scores.mean, consumes="texts"),
    built_in("rouge2", scores_overlap.rouge(2), scores.mean, consumes="texts"),
)

TRANSLATIONS = table(
    built_in("bleu", scores_overlap.bleu_features, scores_overlap.bleu, True, "texts", (0.0, 100.0)),
    built_in("chrf", scores_overlap.chrf_features, scores_overlap.chrf, True, "texts", (0.0, 100.0)),
)

TRANSCRIPTS = table(
    built_in("wer", scores_edits.of_rows(scores_edits.word_edits), scores_edits.rate, False, "texts", (0.0, None)),
    built_in(
        "wer_plain", scores_edits.of_rows(scores_edits.plain_word_edits), scores_edits.rate, False, "texts", (0.0, None)
    ),
    built_in("cer", scores_edits.of_rows(scores_edits.character_edits), scores_edits.rate, False, "texts", (0.0, None)),
)
