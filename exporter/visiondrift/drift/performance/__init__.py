"""How the model is doing, without labels: calibrated confidences, readers of the embedding, shifted labels."""
