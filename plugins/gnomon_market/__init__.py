"""Market: jobs that run only while an exchange trades, or only on its trading days.

    [plugins.market]

    [[jobs]]
    id = "quotes"
    func = "app:poll_quotes"
    every = "1m"
    calendar = "XSHG"                 # a calendar of exchange_calendars: a MIC, or an alias such as "NYSE"
    calendar_margin = "5m"            # from 09:25 to 11:35 and from 12:55 to 15:05

    [[jobs]]
    id = "daily_bars"
    func = "app:sync_bars"
    cron = "0 18 * * *"
    timezone = "Asia/Shanghai"
    calendar = "XSHG"
    calendar_hours = "trading_day"    # at any time, but not on weekends and holidays

A fire that is held back is recorded as missed(guard) with the reason; a manual trigger with `force` runs anyway. The
time at which a run was due counts, not when it starts: a run that is caught up in the evening was due during the
session. Needs exchange_calendars: `pip install 'gnomon[market]'`.
"""

from gnomon_market.plugin import MarketPlugin

__all__ = ["MarketPlugin"]
