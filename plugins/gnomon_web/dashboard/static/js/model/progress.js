// The fold of progress, equal to gnomon.domain.progress: percent, steps, items, and what may be said of the remaining time.

/** @typedef {import('../types.d.ts').Step} Step */
/** @typedef {import('../types.d.ts').ProgressView} ProgressView */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */

/** @type {ProgressView} */
export const NOTHING = {
  percent: null,
  message: null,
  step: null,
  current_item: null,
  processed_items: null,
  total_items: null,
  steps: [],
  declared: false,
};

/** Fold one progress event into the view. @param {ProgressView} view @param {LogEvent} told @returns {ProgressView} */
export function advance(view, told) {
  let { steps, declared } = view;
  if (told.steps) {
    steps = told.steps.map((/** @type {{ name: string, weight?: number }} */ { name, weight = 1 }) => ({ ...PENDING, name, weight }));
    declared = true;
  }
  if (told.skipped) {
    steps = steps.map((step) => (told.skipped?.includes(step.name) ? ended(step, 'skipped', told.at) : step));
  }
  const step = told.step ?? null;
  const isNew = step !== null && step !== view.step;
  if (isNew) steps = enter(steps, step, told.at);
  // A new step counts its own items: what the step before it counted would be a lie.
  const processed = isNew ? (told.processed_items ?? null) : (told.processed_items ?? view.processed_items);
  const total = isNew ? (told.total_items ?? null) : (told.total_items ?? view.total_items);
  return {
    percent: neverBack(view.percent, told.percent ?? derive(steps, processed, total, declared)),
    message: told.message ?? view.message,
    step: step ?? view.step,
    current_item: isNew ? (told.current_item ?? null) : (told.current_item ?? view.current_item),
    processed_items: processed,
    total_items: total,
    steps,
    declared,
  };
}

/** Close the view at the end of a run. @param {ProgressView} view @param {boolean} succeeded @param {string} at @returns {ProgressView} */
export function finish(view, succeeded, at) {
  const steps = view.steps.map((step) => closeStep(step, succeeded ? 'completed' : 'failed', at));
  return { ...view, steps, percent: succeeded ? 100 : view.percent };
}

/**
 * Say how many seconds are left: from past runs first, from the run's own rate the more of it is done.
 * @param {{ percent: number | null, elapsed: number, typical: number | null }} known @returns {number | null} null where nobody can know
 */
export function remaining({ percent, elapsed, typical }) {
  const done = (percent ?? 0) / 100;
  const fromRate = done > 0 ? elapsed / done : null;
  let total = fromRate ?? typical;
  if (fromRate !== null && typical !== null) total = (1 - done) * typical + done * fromRate;
  if (total === null || (fromRate === null && total < elapsed)) return null; // longer than ever, and no rate
  return Math.max(total - elapsed, 0);
}

/** @type {Omit<Step, 'name'>} */
const PENDING = { status: 'pending', weight: 1, started_at: null, ended_at: null };

/** Make `name` the current step: what was current is completed, what was passed over is skipped. @param {Step[]} steps @param {string} name @param {string} at @returns {Step[]} */
function enter(steps, name, at) {
  const known = steps.findIndex((step) => step.name === name);
  const passed = known < 0 ? steps.length : known;
  const before = steps.slice(0, passed).map((step) => closeStep(step, 'completed', at));
  /** @type {Step} */
  const entered = { ...PENDING, ...steps[known], name, status: 'current', started_at: at, ended_at: null };
  const after = steps.slice(passed + 1).map((step) => (step.status === 'current' ? ended(step, 'completed', at) : step));
  return [...before, entered, ...after];
}

/** End a step if it is the current one; one that was never reached is skipped. @param {Step} step @param {Step['status']} status @param {string} at */
function closeStep(step, status, at) {
  if (step.status === 'current') return ended(step, status, at);
  return step.status === 'pending' ? ended(step, 'skipped', null) : step;
}

/** @param {Step} step @param {Step['status']} status @param {string | null} at @returns {Step} */
const ended = (step, status, at) => ({ ...step, status, ended_at: at });

/** Derive the percentage: of the declared steps by weight, else of the items. @param {Step[]} steps @param {number | null} processed @param {number | null} total @param {boolean} declared */
function derive(steps, processed, total, declared) {
  const share = processed !== null && total ? Math.min(processed / total, 1) : null;
  if (!declared) return share !== null && steps.length === 0 ? share * 100 : null;
  const counted = steps.filter((step) => step.status !== 'skipped');
  const weights = weigh(counted);
  if (weights <= 0) return null;
  const done = weigh(counted.filter((step) => step.status === 'completed' || step.status === 'failed'));
  const current = weigh(counted.filter((step) => step.status === 'current'));
  return ((done + current * (share ?? 0)) / weights) * 100;
}

/** @param {Step[]} steps */
const weigh = (steps) => steps.reduce((sum, step) => sum + step.weight, 0);

/** @param {number | null} before @param {number | null} next */
function neverBack(before, next) {
  if (next === null) return before;
  const bounded = Math.min(Math.max(next, 0), 100);
  return before === null ? bounded : Math.max(before, bounded);
}
