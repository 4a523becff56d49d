// Types of the wire: the resources of the HTTP API and the events of the log. For the type checker only, never served.

export type Status = 'scheduled' | 'running' | 'success' | 'failed' | 'missed' | 'cancelled';
export type Role = 'viewer' | 'operator' | 'admin';

export interface Kernel {
  id: string;
  node: string;
  pid: number;
  role: 'leader' | 'follower';
  since: string;
  seen: string;
  position: number;
  lag: number;
  lag_s: number;
  state: string;
  problem: string | null;
  may_lead: boolean;
  revision: string | null;
}

export interface Step {
  name: string;
  status: 'pending' | 'current' | 'completed' | 'failed' | 'skipped';
  weight: number;
  started_at: string | null;
  ended_at: string | null;
}

export interface ProgressView {
  percent: number | null;
  message: string | null;
  step: string | null;
  current_item: string | null;
  processed_items: number | null;
  total_items: number | null;
  steps: Step[];
  declared: boolean;
}

/** The seconds that a running body still needs, as of `at`: between `low` and `high` for about four of five runs. */
export interface Eta {
  low: number;
  high: number;
  basis: 'steps' | 'progress and past' | 'progress' | 'past';
  at: string;
}

export interface Run {
  _id: string;
  job_id: string;
  job_name: string;
  status: Status;
  version: number;
  scheduled_time: string;
  timestamp: string;
  updated_at: string;
  execution_time: number | null;
  error_message: string | null;
  error_type: string | null;
  traceback: string | null;
  is_manual: boolean;
  cancel_requested: boolean;
  progress: number | null;
  progress_message: string | null;
  current_item: string | null;
  processed_items: number | null;
  total_items: number | null;
  steps: Step[];
  return_value: unknown;
  reason: string | null;
  actor: string | null;
  kwargs: Record<string, unknown>;
  labels?: Record<string, string>;
  /** long arguments, results and texts are cut, as in all lists */
  truncated?: boolean;
  force: boolean;
  attempt: number;
  retry_of: string | null;
  snoozes?: number;
  snoozed_until?: string | null;
  snoozed_to?: string | null;
  triggered_by?: string | null;
  node: string;
  step?: string | null;
  declared?: boolean;
  args?: unknown[];
  detail?: string | null;
  runner?: string | null;
  worker?: string | null;
  handed_to?: string | null;
  handed_over_at?: string | null;
  queue?: string | null;
  delay?: number | null;
  not_before?: string | null;
  cause?: string | null;
  count?: number;
  first?: string | null;
  last?: string | null;
  cancelled_by?: string | null;
  warning?: string | null;
  late_result?: string | null;
  hidden?: boolean;
  imported_from?: string | null;
  /** How long it still needs, if anything is known. */
  eta?: Eta | null;
  /** Set if the page shows the run as of that moment. */
  as_of?: number;
  events?: LogEvent[];
}

/** The parts of a JSON Schema that forms use. */
export interface Schema {
  type?: string;
  format?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  required?: string[] | boolean;
  readOnly?: boolean;
  nullable?: boolean;
  anyOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean;
  'x-secret'?: string;
}

/** What a module that is loaded on its own gets from the page, since it imports nothing. */
export interface Tools {
  h: typeof import('./core/dom.js').h;
  signal: typeof import('./core/signals.js').signal;
  t: typeof import('./i18n/index.js').t;
  moment: typeof import('./components/common.js').moment;
  clean: typeof import('./model/sanitize.js').clean;
}

/** What the module of the operators' dialogs gets from the page. */
export interface Desk extends Tools {
  number: typeof import('./i18n/format.js').number;
  runText: (query: Record<string, string>) => string;
  fullMoment: typeof import('./i18n/format.js').fullMoment;
  ask: typeof import('./components/dialog.js').ask;
  toast: typeof import('./components/toasts.js').toast;
  get: typeof import('./model/api.js').get;
  post: typeof import('./model/api.js').post;
  send: typeof import('./model/commands.js').operate;
  jobName: typeof import('./model/store.js').jobName;
}

/** A fire to come that does not run. */
export interface Skipped {
  scheduled_time: string;
  actor: string | null;
  reason: string | null;
}

export interface KeyProblem {
  key: string;
  detail: string;
}

export interface JobPreview {
  problems?: KeyProblem[];
  warnings?: KeyProblem[];
  schedule?: string;
  timezone?: string | null;
  next_run_times?: string[];
  gained?: { count: number };
  lost?: { count: number };
  notes?: string[];
}

export interface Job {
  id: string;
  name: string;
  display_name: string | null;
  description: string;
  status: 'active' | 'paused';
  waiting?: string[];
  paused: boolean;
  paused_by?: string | null;
  paused_reason?: string | null;
  paused_at?: string | null;
  next_run_time: string | null;
  trigger: string;
  trigger_config: Record<string, any> | null;
  tags?: string[];
  last_execution?: { _id: string; status: Status; timestamp: string; execution_time: number | null; error_message?: string | null } | null;
  running: string[];
  /** Ended runs whose code is still running. */
  lingering?: string[];
  next_run_times?: string[];
  skips?: Skipped[];
  backfill?: { from: string; to: string; fires: number | null; runs: number; left_out: number } | null;
  schedule?: string;
  func?: string;
  args?: unknown[];
  kwargs?: Record<string, unknown>;
  timezone?: string | null;
  /** where the job is defined: `api` for one that was added at run time */
  origin?: 'config' | 'code' | 'plugin' | 'api' | 'attached';
  version?: number;
  definition?: Record<string, any>;
  [policy: string]: any;
}

/** A job in a few bytes; what has its default is left out. */
export interface JobLine {
  id: string;
  name?: string;
  tags?: string[];
  paused?: boolean;
  running?: number;
  last?: Status;
}

export interface LogEvent {
  type: string;
  position: number;
  stream: string;
  version: number;
  at: string;
  node: string;
  job_id: string;
  [payload: string]: any;
}

export interface LogLine {
  number: number;
  at: string;
  level: string;
  text: string;
  logger?: string;
}

/** What is kept of a log; lines before `first` are not. */
export interface LogSummary {
  first: number | null;
  last: number | null;
  total: number;
  matching: number;
  levels: Record<string, number>;
}

export interface ForecastRun {
  at: string;
  outcome: 'running' | 'run' | 'overlap' | 'closed' | 'skipped' | 'paused' | 'held';
  starts: string | null;
  ends_low: string | null;
  ends: string | null;
  ends_high: string | null;
  may_overlap: boolean;
  waits_for: string | null;
  detail: string | null;
}

export interface ForecastJob {
  job_id: string;
  name: string;
  paused: boolean;
  fires: number;
  totals: Record<string, number>;
  runs: ForecastRun[];
  cut: number;
  notes: string[];
  interval_s: number | null;
}

export interface Forecast {
  from: string;
  to: string;
  now: string;
  jobs: ForecastJob[];
  totals: Record<string, number>;
  cut: { jobs: number; fires: number };
}

/** An act of an operator; a failed one was refused. */
export interface Act {
  job_id: string;
  action: string;
  status: 'success' | 'failed';
  error_message?: string | null;
  actor: string;
  timestamp: string;
  execution_id?: string | null;
  detail?: string | null;
}

/** What a look into a running body found. */
export interface BodySample {
  at: string;
  runner: string;
  stacks: { name: string; frames: { function: string; file: string; line: number; source: string }[]; left_out: number }[];
  process: { pid: number; memory: number | null; peak_memory: number | null; cpu_s: number | null } | null;
  is_shared: boolean;
  cpu_s: number | null;
  memory_growth: number | null;
  problem: string | null;
}

export interface LogPage {
  items: LogLine[];
  offset: number | null;
  next: number | null;
  summary: LogSummary | null;
}

/** Lines that repeat those before them; within a text they are counted from 0. */
export interface LogRepeat {
  first: number;
  last: number;
  period: number;
  times: number;
}

/** What can be folded in a log. */
export interface LogOutline {
  steps: { name: string; first: number; last: number }[];
  repeats: LogRepeat[];
  texts: { number: number; repeats: LogRepeat[] }[];
}

export interface ListPage {
  items: Run[];
  total: number;
  next: string | null;
}

export interface Statistics {
  total: number;
  success: number;
  failed: number;
  missed: number;
  cancelled: number;
  running: number;
  success_rate: number | null;
  avg_execution_time: number | null;
  p50: number | null;
  p95: number | null;
  eta_accuracy?: { start: EtaChecks; halfway: EtaChecks } | null;
}

/** The runs for which a range was known, and how many of them ended inside, before and after it. */
export interface EtaChecks {
  runs: number;
  inside: number;
  early: number;
  late: number;
  mean_error: number | null;
}

/** The runs of one job by bucket of time, or of several jobs together; counts are null where all are zero. */
export interface Lane {
  job_id: string | null;
  name: string | null;
  total: { success: number; failed: number; missed: number; cancelled: number };
  /** a letter for each bucket: `f`, `m`, `c`, `s`, or `.` for nothing */
  worst: string;
  success: number[] | null;
  failed: number[] | null;
  missed: number[] | null;
  cancelled: number[] | null;
  running: number;
  p50: number | null;
  p95: number | null;
  complete_from?: string | null;
}

/** A timeline, exact up to `position` of the log. */
export interface Lanes {
  from: string;
  to: string;
  bucket_s: number;
  buckets: number;
  starts: string[] | null;
  position: number;
  all: Lane;
  lanes: Lane[];
  others: Lane | null;
  cut: { jobs: number; runs: number };
  /** Set where it shows the newest runs alone: how many of how many, and since when these are all. */
  newest?: { ids: Set<string>; runs: number; total: number; since: string | null };
}

export type AlertState = 'firing' | 'acknowledged' | 'snoozed' | 'resolved';

/** An alert as the server judges it. */
/** A sentence as data: the server words it in English. */
export interface Statement {
  code: string;
  values: Record<string, Statement | string | number>;
}

export interface Alert {
  id: string;
  rule: string;
  kind: string;
  severity: 'info' | 'warning' | 'error' | 'critical';
  /** empty for an alert about a part of the deployment, which `subject` names */
  job_id: string;
  subject: string;
  message: string;
  said?: Statement | null;
  state: AlertState;
  since: string;
  opened_at: string;
  last_at: string;
  first_execution: string | null;
  last_execution: string | null;
  count: number;
  acknowledgement: { by: string | null; at: string; until: string | null; until_next: boolean; note: string | null } | null;
  snooze: { by: string | null; at: string; until: string; note: string | null } | null;
  resolved_at: string | null;
  resolution: string | null;
  resolved_by: string | null;
  resolved_execution: string | null;
  note: string | null;
  backdated: boolean;
}

export interface AlertCounts {
  firing: number;
  acknowledged: number;
  snoozed: number;
  severities: Partial<Record<Alert['severity'], number>>;
}

/** An event in the life of an alert. */
export interface AlertChange {
  what: 'opened' | 'repeated' | 'acknowledged' | 'snoozed' | 'resolved';
  at: string;
  actor: string | null;
  facts: Record<string, any>;
}

export interface Component {
  name: string;
  state: 'ok' | 'starting' | 'stopping' | 'degraded' | 'failed';
  problem?: string | null;
  lag?: number | null;
  /** The run that causes the problem, if any. */
  execution_id?: string | null;
}

export interface Health {
  status?: Component['state'];
  role?: 'leader' | 'follower' | null;
  components?: Component[];
  hold?: { since: string; actor: string | null; reason: string | null } | null;
  groups?: { name: string; limit: number | null; rate: string | null; running: string[]; waiting: number }[];
}

export interface Snapshot {
  reason: 'first' | 'gap' | 'lag' | 'other-log';
  log: string;
  seq: number;
  now: string;
  version: string;
  role: Role;
  actor: string;
  contributed?: string[];
  totals?: { jobs: number; paused: number; running: number; scheduled: number };
  jobs: Job[];
  running: Run[];
  recent: Run[];
  health: Health;
}

export interface Delta {
  seq: number;
  now: string;
  events: LogEvent[];
  jobs?: Job[];
  removed?: string[];
  totals?: { jobs: number; paused: number };
  progress?: (Partial<Run> & { _id: string; version: number })[];
  resumed?: boolean;
}

/** The workers elsewhere that run bodies, and their queues. */
export interface WorkerView {
  workers: { name: string; runner: string; state: 'online' | 'stopping' | 'gone'; concurrency: number | null; active: number; queues: string[]; seen: string | null }[];
  queues: { name: string; runner: string; workers: number; length: number | null; waiting: number; oldest: string | null }[];
  problems: string[];
}
