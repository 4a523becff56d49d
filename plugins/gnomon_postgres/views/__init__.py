"""Views: folded from events, filed behind them, and proved against them."""
