// Fold the events of an execution, exactly as gnomon.domain.execution does, so that page and server agree.
import { advance, finish, NO_PROGRESS } from './progress.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */
/** @typedef {import('../types.d.ts').ProgressView} ProgressView */

export const FINAL = new Set(['success', 'failed', 'missed', 'cancelled']);

/** What a run begins with. */
const FIRST = new Set(['scheduled', 'missed', 'imported']);

/** @param {Pick<Run, 'status'>} run */
export const isOver = (run) => FINAL.has(run.status);

/** Whether the body of a run has begun: one that was missed, or cancelled in the queue, has the time of its record only. @param {Run} run */
export const hasStarted = (run) => run.status === 'running' || (run.delay ?? run.execution_time ?? null) !== null;

/** Fold the events of one run, in order of version. @param {LogEvent[]} events @returns {Run | null} */
export const fold = (events) => events.reduce((run, event) => apply(run, event), /** @type {Run | null} */ (null));

/**
 * Apply one event. Conflated progress leaves a gap in the versions, which is not an error; an event of a version that
 * was applied already changes nothing, and neither does one of an unknown type.
 * @param {Run | null} run @param {LogEvent} event @returns {Run | null}
 */
export function apply(run, event) {
  if (run !== null && event.version <= run.version) return run;
  if (run === null && !FIRST.has(event.type)) return null;
  const changed = (run && isOver(run) ? CHANGES_AFTER_END : CHANGES)[event.type]?.(event, run) ?? {};
  // Hiding only affects lists: it must not change when the run ended.
  const updated_at = run && event.type === 'hidden' ? run.updated_at : event.type === 'imported' ? event.ended_at : event.at;
  return /** @type {Run} */ ({ ...run, ...changed, version: event.version, updated_at });
}

/** Fill in the default values that the wire omits from a step. @param {Run} run @returns {Run} */
export const complete = (run) => ({
  ...run,
  steps: run.steps.map((step) => ({ ...step, status: step.status ?? 'pending', weight: step.weight ?? 1, started_at: step.started_at ?? null, ended_at: step.ended_at ?? null })),
});

/** @param {Run} run @returns {ProgressView} */
export const progressOf = (run) => ({
  percent: run.progress,
  message: run.progress_message,
  step: run.step ?? run.steps.find((step) => step.status === 'current')?.name ?? null,
  current_item: run.current_item,
  processed_items: run.processed_items,
  total_items: run.total_items,
  steps: run.steps,
  declared: run.declared ?? run.steps.some((step) => step.status === 'pending' || step.weight !== 1),
});

/** @param {ProgressView} view @returns {Partial<Run>} */
const progressFields = (view) => ({
  progress: view.percent,
  progress_message: view.message,
  step: view.step,
  current_item: view.current_item,
  processed_items: view.processed_items,
  total_items: view.total_items,
  steps: view.steps,
  declared: view.declared,
});

/** @param {LogEvent} event @param {Run | null} run @param {boolean} succeeded */
const endOfProgress = (event, run, succeeded) => progressFields(finish(run ? progressOf(run) : NO_PROGRESS, succeeded, event.at));

/** @param {LogEvent} event @returns {Partial<Run>} */
const initialFields = (event) => ({
  _id: event.stream,
  job_id: event.job_id,
  job_name: event.job_name ?? '',
  scheduled_time: event.scheduled_time,
  timestamp: event.at,
  node: event.node,
  is_manual: event.is_manual ?? false,
  force: event.force ?? false,
  args: event.args ?? [],
  kwargs: event.kwargs ?? {},
  labels: event.labels ?? {},
  actor: event.actor ?? null,
  attempt: event.attempt ?? 1,
  retry_of: event.retry_of ?? null,
  snoozes: event.snoozes ?? 0,
  snoozed_until: null,
  snoozed_to: null,
  triggered_by: event.triggered_by ?? null,
  not_before: event.not_before ?? null,
  cause: event.cause ?? null,
  count: event.count ?? 1,
  first: event.first ?? null,
  last: event.last ?? null,
  execution_time: null,
  error_type: null,
  error_message: null,
  traceback: null,
  return_value: null,
  reason: null,
  detail: null,
  cancel_requested: false,
  cancelled_by: null,
  warning: null,
  runner: null,
  worker: null,
  handed_to: null,
  handed_over_at: null,
  queue: null,
  delay: null,
  late_result: null,
  hidden: false,
  imported_from: null,
  truncated: false,
  ...progressFields(NO_PROGRESS),
});

/** @type {Record<string, (event: LogEvent, run: Run | null) => Partial<Run>>} */
const CHANGES = {
  scheduled: (event) => ({ ...initialFields(event), status: 'scheduled' }),
  missed: (event, run) => ({
    ...(run ? {} : initialFields(event)),
    status: 'missed',
    reason: event.reason ?? null,
    detail: event.detail ?? null,
  }),
  imported: (event) => ({
    ...initialFields(event),
    status: event.status,
    timestamp: event.started_at,
    execution_time: event.execution_time ?? null,
    return_value: event.return_value ?? null,
    reason: event.reason ?? null,
    error_type: event.error_type ?? null,
    error_message: event.error_message ?? null,
    traceback: event.traceback ?? null,
    cancel_requested: event.cancel_requested ?? false,
    imported_from: event.source,
    progress: event.percent ?? null,
    progress_message: event.message ?? null,
    current_item: event.current_item ?? null,
    processed_items: event.processed_items ?? null,
    total_items: event.total_items ?? null,
  }),
  handed_over: (event) => ({ handed_to: event.runner, handed_over_at: event.at, queue: event.queue ?? '' }),
  started: (event) => ({
    status: 'running',
    timestamp: event.at,
    node: event.node,
    runner: event.runner,
    worker: event.worker ?? '',
    delay: event.delay ?? 0,
  }),
  progress: (event, run) => progressFields(advance(run ? progressOf(run) : NO_PROGRESS, event)),
  succeeded: (event, run) => ({
    ...endOfProgress(event, run, true),
    status: 'success',
    return_value: event.return_value ?? null,
    execution_time: event.execution_time ?? null,
  }),
  failed: (event, run) => ({
    ...endOfProgress(event, run, false),
    status: 'failed',
    reason: event.reason ?? null,
    error_type: event.error_type ?? null,
    error_message: event.error_message ?? null,
    traceback: event.traceback ?? null,
    execution_time: event.execution_time ?? null,
  }),
  cancelled: (event, run) => ({
    ...endOfProgress(event, run, false),
    status: 'cancelled',
    reason: event.reason ?? null,
    cancelled_by: event.actor ?? run?.cancelled_by ?? null,
    snoozed_until: event.snoozed_until ?? null,
    snoozed_to: event.snoozed_to ?? null,
    execution_time: event.execution_time ?? null,
  }),
  cancel_requested: (event) => ({ cancel_requested: true, cancelled_by: event.actor ?? null }),
  warned: (event) => ({ warning: event.message }),
};

/** @type {Record<string, (event: LogEvent) => Partial<Run>>} */
const CHANGES_AFTER_END = {
  late_result: (event) => ({ late_result: event.outcome }),
  hidden: () => ({ hidden: true }),
};
