// English, in the terms of the documentation.
export const en = {
  'nav': 'Main', 'nav.overview': 'Overview', 'nav.jobs': 'Jobs', 'nav.runs': 'Runs', 'nav.alerts': 'Alerts', 'nav.forecast': 'Forecast', 'nav.compare': 'Compare', 'nav.activity': 'Activity',
  'account': 'Account',
  'skip': 'Skip to content', 'language': 'Language', 'theme': 'Theme', 'theme.auto': 'system', 'theme.light': 'light', 'theme.dark': 'dark',
  'all': 'All', 'close': 'Close', 'copy': 'Copy', 'copied': 'Copied', 'save': 'Save', 'never': 'never', 'state': 'State', 'loading': 'Loading…',
  'retry': 'Try again', 'load.failed': 'Loading failed: {reason}', 'and.more': 'and {n} more', 'nothing.here': 'Page not found', 'nothing.text': 'There is no page at {path}.',
  'keep.running': 'Keep running', 'keep.active': 'Keep active', 'keep.paused': 'Keep paused', 'keep.visible': 'Keep visible',

  'status.scheduled': 'Waiting', 'status.running': 'Running', 'status.success': 'Succeeded', 'status.failed': 'Failed', 'status.missed': 'Missed', 'status.cancelled': 'Cancelled', 'status.snoozed': 'Snoozed',
  'status.active': 'Active', 'status.paused': 'Paused',
  'step.pending': 'pending', 'step.current': 'in progress', 'step.completed': 'completed', 'step.failed': 'failed', 'step.skipped': 'skipped',
  'reason.exception': 'raised an exception', 'reason.timeout': 'exceeded its timeout', 'reason.silence': 'reported nothing for too long', 'reason.zombie': 'stopped responding',
  'reason.lost': 'was lost with its process', 'reason.unknown_function': 'has a function that the worker cannot import', 'reason.marked': 'was marked as failed', 'reason.killed': 'was killed', 'reason.internal': 'internal error of the kernel',
  'reason.late': 'was too late to run', 'reason.overlap': 'the previous run was still running', 'reason.guard': 'a guard blocked it', 'reason.downtime': 'the kernel was not running',
  'reason.paused': 'the job was paused', 'reason.held': 'all fires were held', 'reason.skipped': 'an operator skipped it', 'reason.capacity': 'no slot became free in time', 'reason.dependency': 'a job that it runs after did not succeed',
  'health.ok': 'healthy', 'health.starting': 'starting', 'health.stopping': 'stopping', 'health.degraded': 'degraded', 'health.failed': 'unhealthy',
  'component.workers': 'Workers', 'component.kernel': 'Kernel', 'component.store': 'Store', 'component.loop': 'Event loop', 'component.clock': 'Clock', 'component.timetable': 'Timetable', 'component.journal': 'Journal', 'component.starts': 'Run starts', 'component.start': 'Startup', 'component.hold': 'Hold', 'component.leader': 'Leader',

  'time.now': 'now', 'time.in': 'in {t}', 'time.ago': '{t} ago', 'window.1h': '1 h', 'window.6h': '6 h', 'window.24h': '24 h', 'window.7d': '7 d', 'window.30d': '30 d',
  'schedule.manual': 'only when triggered', 'schedule.every': 'every {t}', 'schedule.minutes': 'every {n|minute|{n} minutes}', 'schedule.hours': 'every {n} hours at minute {m}', 'schedule.hourly': 'every hour at minute {m}',
  'schedule.daily': 'every day at {at}', 'schedule.workdays': 'Monday to Friday at {at}', 'schedule.monthly': 'on day {day} of the month at {at}',

  'counters': 'Last 24 hours', 'day.last': 'last 24 h', 'running.now': 'Running now', 'running.none': 'Nothing is running.', 'running.none.next': 'Nothing is running. Next:',
  'coming': 'Coming up', 'coming.none': 'No runs are due: every job is paused or runs only when triggered.', 'coming.paused': '{n} {n|job|jobs} paused',
  'attention': 'Needs attention', 'attention.none': 'All clear.', 'timeline': 'Timeline', 'timeline.window': 'Time range',
  'lanes.label': 'Timeline of {j} {j|job|jobs}: {n} {n|run|runs}, {f} failed', 'lanes.next': 'Due {at}', 'lanes.cut': '{n} of {m} jobs with runs in this time, those with failures first; {r} runs of the others are not shown.', 'lanes.all': 'All jobs',
  'lanes.none': 'No run ended in this period.', 'lanes.known': 'Counts from before {at} are not kept.', 'lanes.newest': 'Only the newest {n} of {m} runs, since {at}: the plugin stats, which counts all of them, is not enabled.',
  'spark.none': 'No runs yet', 'spark.failed': 'not loaded', 'spark.label': 'Last {n} {n|run|runs}: {f} failed, longest {t}',

  'run': 'Run', 'run.steps': 'Steps', 'run.left': 'about {t} left', 'run.left.range': '{a} to {b} left', 'run.left.most': 'up to {t} left', 'run.left.none': 'about to end', 'run.waiting': 'waiting for a slot', 'run.queued': 'in queue {q} since {t}', 'run.handed': 'handed to {r} at {t}', 'run.retry': 'attempt {n} {t}', 'run.delayed': 'starts {t}', 'run.snoozed': 'snoozed {n}×, again {t}',
  'eta': 'Estimated from {from}. About four of five runs end within the range.', 'eta.steps': 'past durations of the remaining steps', 'eta.progress.and.past': 'its progress and past runs', 'eta.progress': 'its progress', 'eta.past': 'past runs',
  'run.cancelling': 'Cancelling', 'run.stopping': 'asked to stop', 'run.stopping.thread': 'asked to stop; a thread cannot be killed, so it stops when its code does', 'run.stopping.process': 'asked to stop; its process is killed after the grace period', 'run.lingering': 'Code still running',
  'progress': 'Progress', 'progress.unknown': 'Progress unknown', 'facts': 'Details',
  'log': 'Log',

  'col.job': 'Job', 'col.schedule': 'Schedule', 'col.next': 'Next', 'col.last': 'Last run', 'col.recent': 'Recent', 'col.actions': 'Actions', 'col.status': 'Status', 'col.started': 'Started', 'col.duration': 'Duration', 'col.progress': 'Progress', 'col.by': 'Started by',
  'figures.runs': 'Runs',
  'table.show': 'Show as table', 'table.cut': 'Showing the newest {n} of {m} runs.',

  'runs.since.at': 'since {at}', 'runs.until.at': 'until {at}', 'runs.from.to': '{from} to {to}',
  'by.schedule': 'schedule', 'by.manual': 'by hand', 'by.retry': 'retry, attempt {n}', 'by.snooze': 'snoozed {n}×',





  'trigger': 'Run now', 'pause': 'Pause', 'resume': 'Resume', 'cancel': 'Cancel', 'mark': 'Mark failed', 'edit': 'Edit', 'requested': 'Requested…',
  'action.offline': 'Disconnected', 'action.unconfirmed': 'Request accepted, but the log has not confirmed it yet.',
  'trigger.ask': 'Run {j} now?', 'arg.last': 'As last time', 'trigger.kwargs.hint': 'They override the arguments of the job for this run only.', 'trigger.kwargs.closed': 'The job always runs with its own arguments: they cannot be changed for a single run.', 'trigger.kwargs.some': 'Only these may be set for this run: {names}',
  'trigger.force': 'Skip guards', 'trigger.force.hint': 'Run even if a guard would block it, for example outside trading hours.', 'trigger.stay.hint': 'Otherwise the job is resumed.', 'trigger.dismiss': 'Don’t run',
  'cancel.ask': 'Cancel this run of {j}?', 'cancel.text': 'The run is asked to stop. Work it has already done is kept.', 'cancel.do': 'Cancel run',
  'mark.ask': 'Mark this run of {j} as failed?', 'mark.text': 'Do this only if the run is known to be dead. Anything it reports later does not change the outcome; code that is still running keeps its slot.',
  'edit.ask': 'Edit {j}', 'edit.name': 'Name', 'edit.note': 'Note', 'edit.dismiss': 'Discard changes',
  'pause.all': 'Pause {n|job|{n} jobs}', 'resume.all': 'Resume {n|job|{n} jobs}', 'pause.all.n': 'Pause {n}', 'resume.all.n': 'Resume {n}', 'pause.all.ask': 'Pause {n|this job|these {n} jobs}?', 'resume.all.ask': 'Resume {n|this job|these {n} jobs}?', 'undo': 'Undo', 'done.undo': 'Undone.', 'actions.none': 'No actions are available.',
  'done.trigger': '{j} was triggered.', 'done.see': 'View run', 'done.pause': '{j} is paused.', 'done.resume': '{j} is resumed.', 'done.cancel': 'Cancellation of {j} requested.', 'done.mark': 'Run marked as failed.', 'done.describe': 'Saved.', 'done.pause.all': '{n} {n|job|jobs} paused.', 'done.resume.all': '{n} {n|job|jobs} resumed.',

  'act.reason': 'Reason',
  'fire.skip': 'Skip', 'fire.skipped': 'skipped by {who}', 'fire.undo': 'Undo skip',
  'backfill': 'Backfill', 'backfill.done': '{n} of {m} fires done', 'backfill.stop': 'Stop backfill',
  'hold': 'Hold all fires', 'held': 'No job fires.', 'held.by': 'All fires are held by {who}', 'release': 'Release fires',
  'cancel.all': 'Cancel these runs', 'cancel.all.n': 'Cancel {n} {n|run|runs}',
  'job.new': 'New job', 'job.add': 'Add job', 'job.copy': 'Copy', 'job.copy.ask': 'Copy {j}', 'job.change': 'Change', 'job.change.ask': 'Change {j}', 'job.remove': 'Remove', 'job.remove.ask': 'Remove {j}?', 'job.remove.text': 'It does not fire again. Its runs stay in the log, and a run that is in progress goes on.', 'job.keep': 'Keep job',
  'done.job.add': '{j} was added.', 'done.job.change': '{j} was changed.', 'done.job.remove': '{j} was removed.', 'done.job.see': 'View job',

  'link.connecting': 'Connecting', 'link.past': 'Past', 'past.open': 'Show the past', 'past.unknown': 'The log does not say this about past moments.', 'zone': 'Time zone', 'zone.local': 'Local: {zone}', 'zone.job': 'Job: {zone}', 'zone.job.none': 'Job’s zone', 'link.live': 'Live', 'link.lost': 'Disconnected', 'link.refused': 'Logged out', 'link.degraded': 'Degraded', 'link.starting': 'Starting', 'link.stopping': 'Stopping', 'link.failed': 'Unhealthy', 'lost': 'Connection lost.', 'lost.text': 'This page may be out of date. It reconnects by itself.', 'lost.retry': 'Retry now', 'stale': 'Version {v} is available: reload',
  'system': 'System',
  'keys': 'Keyboard shortcuts',
  'hide': 'Hide', 'hide.ask': 'Hide this run from lists?', 'hide.text': 'The run no longer appears in lists. The event log is unchanged, and this address keeps working.', 'done.hide': 'Run hidden.',
  'attention.off': 'Alerts are not enabled, so nothing is reported here.', 'attention.on': 'How to enable them', 'attention.quiet': '{n} acknowledged or snoozed', 'alerts.firing': 'alerts firing',
  'ack': 'Acknowledge',
  'kind.failed': 'Failed', 'kind.lost': 'Lost run', 'kind.missed': 'Missed fires', 'kind.late_start': 'Late start', 'kind.too_long': 'Takes too long', 'kind.no_success': 'No success', 'kind.silent': 'No sign of life', 'kind.lingering': 'Code still running', 'kind.unscheduled': 'Cannot run', 'kind.store': 'Store', 'kind.plugin': 'Plugin', 'kind.queue': 'Queue', 'kind.kernel': 'Kernel', 'kind.leader': 'No leader',
};
