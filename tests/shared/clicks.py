"""How many clicks a task takes, in the pages of the dashboard."""

COUNT_CLICKS = "window.clicks = 0; addEventListener('click', (event) => { window.clicks += event.isTrusted }, true)"
"""Counts the clicks of a person from now on, in `window.clicks`."""
