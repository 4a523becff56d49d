// Fold progress, exactly as gnomon.domain.progress does: percentage, steps and items.

/** @typedef {import('../types.d.ts').Step} Step */
/** @typedef {import('../types.d.ts').ProgressView} ProgressView */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */

/** @type {ProgressView} */
export const NO_PROGRESS = {
  percent: null,
  message: null,
  step: null,
  current_item: null,
  processed_items: null,
  total_items: null,
  steps: [],
  declared: false,
};

/** Fold one progress event into the view. @param {ProgressView} view @param {LogEvent} event @returns {ProgressView} */
export function advance(view, event) {
  let { steps, declared } = view;
  if (event.steps) {
    steps = event.steps.map((/** @type {{ name: string, weight?: number }} */ { name, weight = 1 }) => ({ ...PENDING, name, weight }));
    declared = true;
  }
  if (event.skipped) {
    steps = steps.map((step) => (event.skipped?.includes(step.name) ? ended(step, 'skipped', event.at) : step));
  }
  const step = event.step ?? null;
  const isNew = step !== null && step !== view.step;
  if (isNew) steps = enter(steps, step, event.at);
  // A new step counts its own items, so the previous step's counts no longer apply.
  const processed = isNew ? (event.processed_items ?? null) : (event.processed_items ?? view.processed_items);
  const total = isNew ? (event.total_items ?? null) : (event.total_items ?? view.total_items);
  return {
    percent: monotonic(view.percent, event.percent ?? derive(steps, processed, total, declared)),
    message: event.message ?? view.message,
    step: step ?? view.step,
    current_item: isNew ? (event.current_item ?? null) : (event.current_item ?? view.current_item),
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

/** @type {Omit<Step, 'name'>} */
const PENDING = { status: 'pending', weight: 1, started_at: null, ended_at: null };

/** Make `name` the current step: the previous one is completed, those in between are skipped. @param {Step[]} steps @param {string} name @param {string} at @returns {Step[]} */
function enter(steps, name, at) {
  const known = steps.findIndex((step) => step.name === name);
  const passed = known < 0 ? steps.length : known;
  const before = steps.slice(0, passed).map((step) => closeStep(step, 'completed', at));
  /** @type {Step} */
  const entered = { ...PENDING, ...steps[known], name, status: 'current', started_at: at, ended_at: null };
  const after = steps.slice(passed + 1).map((step) => (step.status === 'current' ? ended(step, 'completed', at) : step));
  return [...before, entered, ...after];
}

/** End the current step; mark one that was never reached as skipped. @param {Step} step @param {Step['status']} status @param {string} at */
function closeStep(step, status, at) {
  if (step.status === 'current') return ended(step, status, at);
  return step.status === 'pending' ? ended(step, 'skipped', null) : step;
}

/** @param {Step} step @param {Step['status']} status @param {string | null} at @returns {Step} */
const ended = (step, status, at) => ({ ...step, status, ended_at: at });

/** Derive the percentage from the declared steps by weight, else from the items. @param {Step[]} steps @param {number | null} processed @param {number | null} total @param {boolean} declared */
function derive(steps, processed, total, declared) {
  const share = processed !== null && total ? Math.min(processed / total, 1) : null;
  if (!declared) return share !== null && steps.length === 0 ? share * 100 : null;
  const counted = steps.filter((step) => step.status !== 'skipped');
  const weights = sumWeights(counted);
  if (weights <= 0) return null;
  const done = sumWeights(counted.filter((step) => step.status === 'completed' || step.status === 'failed'));
  const current = sumWeights(counted.filter((step) => step.status === 'current'));
  return ((done + current * (share ?? 0)) / weights) * 100;
}

/** @param {Step[]} steps */
const sumWeights = (steps) => steps.reduce((sum, step) => sum + step.weight, 0);

/** @param {number | null} before @param {number | null} next */
function monotonic(before, next) {
  if (next === null) return before;
  const bounded = Math.min(Math.max(next, 0), 100);
  return before === null ? bounded : Math.max(before, bounded);
}
