"""Figures of what was learnt: curves, mistakes, filters, feature maps, embeddings."""
