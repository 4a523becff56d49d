// The dialogs of the acts on fires, past fires, many runs and the whole kernel. Loaded with the first of them.
import { reasonField, reasonOf } from './dialog.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Skipped} Skipped */
/** @typedef {import('../types.d.ts').Desk} Desk */
/** @typedef {{ _id: string, job_id: string }} Unfinished */

const MOST_AT_ONCE = 1000;
const COUNT_DELAY_MS = 300;
const DAY_MS = 86_400_000;
const OTHER = 'other';

/** @param {string} id */
const pathOf = (id) => `/scheduler/jobs/${encodeURIComponent(id)}`;

/** @param {Desk} desk @param {string} label @param {any} control @param {string} [hint] */
const field = ({ h }, label, control, hint = '') => h('label', { class: 'field' }, h('span', null, label), control, hint && h('small', null, hint));

/** @param {Desk} desk @param {string} name @param {string} text @param {string} [hint] */
const check = ({ h }, name, text, hint = '') => h('label', { class: 'check' }, h('input', { type: 'checkbox', name }), h('span', null, text, hint && h('small', null, hint)));

/** A moment for a field, in the time zone of the browser. @param {number} at */
function fieldMoment(at) {
  const shifted = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

/** @param {FormDataEntryValue | null} text of a field, in the time zone of the browser */
const instant = (text) => new Date(String(text)).toISOString();

/** @param {Desk} desk @param {Job} job @param {string[]} times the next fires */
export function askSkip(desk, job, times) {
  const { h, t, signal, ask, toast } = desk;
  const chosen = signal(times[0] ?? OTHER);
  const act = async (/** @type {FormData} */ form) => {
    const wanted = String(form.get('fire'));
    const fire = wanted === OTHER ? instant(form.get('at')) : wanted;
    await desk.send('skip', `${pathOf(job.id)}/skip`, { fire }, reasonOf(form));
    toast(t('done.skip', { j: desk.jobName(job.id), at: desk.fullMoment(fire) }));
  };
  ask({
    title: t('skip.ask', { j: desk.jobName(job.id) }),
    body: [
      h('p', null, t('skip.text')),
      field(desk, t('skip.fire'), h('select', { name: 'fire', onchange: (/** @type {any} */ event) => (chosen.value = event.target.value) }, [
        times.map((at) => h('option', { value: at, selected: at === times[0] }, desk.fullMoment(at))),
        h('option', { value: OTHER, selected: times.length === 0 }, t('skip.other')),
      ])),
      () => chosen.value === OTHER && field(desk, t('skip.at'), h('input', { name: 'at', type: 'datetime-local', step: 1, required: true })),
      reasonField(),
    ],
    confirm: t('skip.do'),
    dismiss: t('skip.dismiss'),
    act,
  });
}

/** @param {Desk} desk @param {string} id @param {Skipped} skipped */
export async function undoSkip(desk, id, skipped) {
  try {
    await desk.send('skip', `${pathOf(id)}/skip`, { fire: skipped.scheduled_time, undo: true }, null);
    desk.toast(desk.t('done.unskip', { j: desk.jobName(id), at: desk.fullMoment(skipped.scheduled_time) }));
  } catch (error) {
    desk.toast(/** @type {Error} */ (error).message, { bad: true });
  }
}

/** @param {Desk} desk @param {Job} job */
export function askBackfill(desk, job) {
  const { h, t, ask, toast } = desk;
  const now = Date.now();
  const from = h('input', { name: 'from', type: 'datetime-local', required: true, value: fieldMoment(now - DAY_MS) });
  const to = h('input', { name: 'to', type: 'datetime-local', required: true, value: fieldMoment(now) });
  const span = () => ({ from: instant(from.value), to: instant(to.value) });
  const counted = countOf(desk, () => desk.get(`${pathOf(job.id)}/backfill`, span()));
  const act = async (/** @type {FormData} */ form) => {
    const rate = String(form.get('rate')).trim() || null;
    const answer = await desk.send('backfill', `${pathOf(job.id)}/backfill`, { ...span(), rate, overlap: form.has('overlap'), rerun: form.has('rerun') }, reasonOf(form));
    toast(t('done.backfill', { j: desk.jobName(job.id), n: answer.fires }));
  };
  ask({
    title: t('backfill.ask', { j: desk.jobName(job.id) }),
    body: [
      h('p', null, t('backfill.text')),
      h('div', { class: 'pair', oninput: counted.later }, field(desk, t('backfill.from'), from), field(desk, t('backfill.to'), to)),
      h('p', { class: 'count', 'aria-live': 'polite' }, counted.text),
      field(desk, t('backfill.rate'), h('input', { name: 'rate', placeholder: '10/m', autocomplete: 'off' }), t('backfill.rate.hint')),
      check(desk, 'overlap', t('backfill.overlap'), t('backfill.overlap.hint')),
      check(desk, 'rerun', t('backfill.rerun')),
      reasonField(),
    ],
    confirm: t('backfill.start'),
    dismiss: t('backfill.dismiss'),
    act,
  });
  counted.now();
}

/** The number of fires, counted by the server a moment after the last change. @param {Desk} desk @param {() => Promise<{ fires: number }>} read */
function countOf({ t, signal, clean }, read) {
  const text = signal(t('loading'));
  let timer = 0;
  let turns = 0;

  async function now() {
    turns += 1;
    const turn = turns;
    let answer;
    try {
      answer = t('backfill.count', { n: (await read()).fires });
    } catch (error) {
      answer = error instanceof RangeError ? t('backfill.times') : clean(/** @type {Error} */ (error).message);
    }
    if (turn === turns) text.value = answer;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => void now(), COUNT_DELAY_MS);
  }

  return { text: () => text.value, now, later };
}

/** @param {Desk} desk @param {Job} job */
export function askStopBackfill(desk, job) {
  const { h, t, ask, toast } = desk;
  const act = async (/** @type {FormData} */ form) => {
    await desk.send('stop_backfill', `${pathOf(job.id)}/backfill/stop`, undefined, reasonOf(form));
    toast(t('done.backfill.stop', { j: desk.jobName(job.id) }));
  };
  ask({ title: t('backfill.stop.ask', { j: desk.jobName(job.id) }), body: [h('p', null, t('backfill.stop.text')), reasonField()], confirm: t('backfill.stop'), dismiss: t('keep.running'), danger: true, act });
}

/** @param {Desk} desk @param {boolean} holds whether to hold, else to release */
export function askHold(desk, holds) {
  const { h, t, ask, toast } = desk;
  const act = async (/** @type {FormData} */ form) => {
    await desk.send('hold', holds ? '/scheduler/hold' : '/scheduler/release', undefined, reasonOf(form));
    toast(t(holds ? 'done.hold' : 'done.release'));
  };
  ask({
    title: t(holds ? 'hold.ask' : 'release.ask'),
    body: [h('p', null, t(holds ? 'hold.text' : 'release.text')), reasonField({ hint: holds ? t('hold.hint') : '' })],
    confirm: t(holds ? 'hold.do' : 'release'),
    dismiss: t(holds ? 'hold.dismiss' : 'release.dismiss'),
    danger: holds,
    act,
  });
}

const UNFINISHED = ['running', 'scheduled'];
const FINISHED = ['success', 'failed', 'missed', 'cancelled'];

/** The query of the runs of some statuses among those that a list shows, and how many there are. @param {Desk} desk @param {Record<string, string>} query of the address @param {string[]} statuses */
async function matching(desk, query, statuses) {
  const asked = (query.status ?? '').split(',').filter((one) => one !== '');
  const status = statuses.filter((one) => asked.length === 0 || asked.includes(one)).join(',');
  const text = desk.runText({ ...query, status });
  return { text, n: status === '' ? 0 : (await desk.get('/scheduler/executions', { query: text, limit: 1 })).total };
}

/** @param {Desk} desk @param {number} n @param {string} text */
const whatMatches = ({ h, t, number, clean }, n, text) => h('p', { class: 'quiet-line' }, t('all.matches', { n: number(n) }), ' ', h('code', null, clean(text)));

/** @param {Desk} desk @param {Record<string, string>} query */
export async function askCancelMatching(desk, query) {
  const { h, t, ask, toast } = desk;
  const { text, n } = await matching(desk, query, UNFINISHED);
  if (n === 0) return toast(t('cancel.all.none'));
  const act = async (/** @type {FormData} */ form) => {
    const outcomes = await desk.send('cancel', '/scheduler/executions/cancel', { query: text }, reasonOf(form));
    const refused = outcomes.filter((/** @type {any} */ one) => one.error);
    tellRefused(desk, refused);
    toast(t('done.cancel.all', { n: outcomes.length - refused.length }));
  };
  return ask({ title: t('cancel.all.ask', { n }), body: [h('p', null, t('cancel.text')), whatMatches(desk, n, text), reasonField()], confirm: t('cancel.all.do', { n }), dismiss: t('keep.running'), danger: true, act });
}

/** @param {Desk} desk @param {Record<string, string>} query */
export async function askRetryMatching(desk, query) {
  const { h, t, ask, toast } = desk;
  const { text, n } = await matching(desk, query, FINISHED);
  if (n === 0) return toast(t('retry.all.none'));
  const key = String(Date.now()); // a request that is sent twice makes no second runs, another dialog does
  const act = async () => {
    const answer = await desk.post('/scheduler/executions/retry', { query: text }, { 'Idempotency-Key': key });
    tellRefused(desk, answer.items.filter((/** @type {any} */ one) => one.error));
    toast(t('done.retry.all', { n: answer.started }));
  };
  return ask({ title: t('retry.all.ask', { n }), body: [h('p', null, t('retry.all.text')), whatMatches(desk, n, text)], confirm: t('retry.all.do', { n }), dismiss: t('trigger.dismiss'), act });
}

/** @param {Desk} desk @param {{ error: string }[]} refused */
function tellRefused({ t, toast, clean }, refused) {
  if (refused.length > 0) toast(t('refused.all', { n: refused.length, reason: clean(refused[0].error) }), { bad: true, lasts: true });
}

/** @param {Desk} desk @param {Unfinished[]} all */
export function askCancelAll(desk, all) {
  const { h, t, ask, toast } = desk;
  const runs = all.slice(0, MOST_AT_ONCE);
  if (runs.length === 0) return toast(t('cancel.all.none'));
  /** @type {Map<string, number>} */
  const byJob = new Map();
  for (const { job_id } of runs) byJob.set(job_id, (byJob.get(job_id) ?? 0) + 1);
  const act = async (/** @type {FormData} */ form) => {
    const outcomes = await desk.send('cancel', '/scheduler/executions/cancel', { ids: runs.map((run) => run._id) }, reasonOf(form));
    const refused = outcomes.filter((/** @type {any} */ one) => one.error);
    tellRefused(desk, refused);
    toast(t('done.cancel.all', { n: outcomes.length - refused.length }));
  };
  return ask({
    title: t('cancel.all.ask', { n: runs.length }),
    body: [
      h('p', null, t('cancel.text')),
      h('ul', { class: 'names' }, [...byJob].slice(0, 12).map(([id, n]) => h('li', null, desk.jobName(id), n > 1 ? ` ×${n}` : '')), byJob.size > 12 && h('li', null, t('and.more', { n: byJob.size - 12 }))),
      reasonField(),
    ],
    confirm: t('cancel.all.do', { n: runs.length }),
    dismiss: t('keep.running'),
    danger: true,
    act,
  });
}
