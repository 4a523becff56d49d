// Buttons that do something: they ask before what is dangerous, follow the role, and say «requested» until it is a fact.
import { h } from '../core/dom.js';
import { untracked } from '../core/signals.js';
import * as commands from '../model/commands.js';
import { link, may } from '../model/link.js';
import { jobName } from '../model/store.js';
import { t } from '../words/index.js';
import { ask } from './dialog.js';
import { icon } from './icons.js';
import { runAddress } from './pieces.js';
import { say } from './toasts.js';

/** @typedef {import('../types.js').Job} Job */
/** @typedef {import('../types.js').Run} Run */

/** @param {{ key: string, text: string, name: string, glyph: string, act: () => void, class?: string }} button */
const button = ({ key, text, name, glyph, act, class: look = '' }) =>
  h('button', {
    type: 'button',
    class: look,
    'aria-label': `${text}: ${name}`,
    disabled: () => commands.isRequested(key) || link.value !== 'live',
    title: () => (link.value === 'live' ? null : t('action.offline')),
    onclick: act,
  }, icon(glyph), h('span', { class: 'text' }, () => (commands.isRequested(key) ? t('requested') : text)));

const unconfirmed = () => say(t('action.unconfirmed'), { bad: true });

/** @param {Promise<unknown>} sent @param {string} done */
function follow(sent, done) {
  sent.then(() => say(done), (error) => say(error.message, { bad: true }));
}

/** @param {Job} job @param {string} [look] */
export const triggerButton = (job, look) => () =>
  may('operator') && button({ key: `trigger ${job.id}`, text: t('trigger'), name: untracked(() => jobName(job.id)), glyph: 'play', class: look, act: () => askTrigger(job) });

/** @param {Job} job @param {string} [look] */
export const pauseButton = (job, look) => () => {
  if (!may('operator')) return null;
  const name = untracked(() => jobName(job.id));
  const [verb, done] = job.paused ? /** @type {const} */ (['resume', 'done.resume']) : /** @type {const} */ (['pause', 'done.pause']);
  const act = () => follow(commands.setPaused(job.id, !job.paused, unconfirmed), t(done, { j: name }));
  return button({ key: `${verb} ${job.id}`, text: t(verb), name, glyph: job.paused ? 'play' : 'paused', class: look, act });
};

/** @param {Run} run @param {string} [look] */
export const cancelButton = (run, look = 'danger') => () => {
  if (!may('operator') || run.cancel_requested) return null;
  return button({ key: `cancel ${run._id}`, text: t('cancel'), name: untracked(() => jobName(run.job_id)), glyph: 'stop', class: look, act: () => askCancel(run) });
};

/** @param {Run} run */
export const markFailedButton = (run) => () =>
  may('admin') && button({ key: `mark ${run._id}`, text: t('mark'), name: untracked(() => jobName(run.job_id)), glyph: 'failed', class: 'quiet danger', act: () => askMarkFailed(run) });

/** @param {Job} job */
export const editButton = (job) => () =>
  may('operator') && button({ key: `describe ${job.id}`, text: t('edit'), name: untracked(() => jobName(job.id)), glyph: 'edit', class: 'quiet', act: () => askDescribe(job) });

/** @param {Job} job */
export function askTrigger(job) {
  const name = jobName(job.id);
  ask({
    title: t('trigger.ask', { j: name }),
    confirm: t('trigger'),
    body: [
      h('label', { class: 'field' }, h('span', null, t('trigger.kwargs')), h('textarea', { name: 'kwargs', rows: 4, spellcheck: 'false', class: 'mono', autocomplete: 'off' }, JSON.stringify(job.kwargs ?? {}, null, 2)), h('small', null, t('trigger.kwargs.hint'))),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'force' }), h('span', null, t('trigger.force'), h('small', null, t('trigger.force.hint')))),
      job.paused && h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'stay' }), h('span', null, t('trigger.stay'), h('small', null, t('trigger.stay.hint')))),
    ],
    act: async (form) => {
      const kwargs = readObject(String(form.get('kwargs')));
      const answer = await commands.trigger(job.id, { kwargs, force: form.has('force'), resume: !form.has('stay') });
      say([t('done.trigger', { j: name }), ' ', h('a', { href: runAddress(commands.recordOf(answer)._id) }, t('done.see'))]);
    },
  });
}

/** @param {string} text */
function readObject(text) {
  if (text.trim() === '') return {};
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(t('trigger.kwargs.bad', { why: /** @type {Error} */ (error).message }), { cause: error });
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(t('trigger.kwargs.object'));
  return value;
}

/** @param {Run} run */
export function askCancel(run) {
  const name = jobName(run.job_id);
  const act = async () => {
    await commands.cancel(run._id, unconfirmed);
    say(t('done.cancel', { j: name }));
  };
  ask({ title: t('cancel.ask', { j: name }), body: h('p', null, t('cancel.text')), confirm: t('cancel.do'), danger: true, act });
}

/** @param {Run} run */
function askMarkFailed(run) {
  const act = async (/** @type {FormData} */ form) => {
    await commands.markFailed(run._id, String(form.get('reason')));
    say(t('done.mark'));
  };
  ask({
    title: t('mark.ask', { j: jobName(run.job_id) }),
    body: [h('p', null, t('mark.text')), h('label', { class: 'field' }, h('span', null, t('mark.reason')), h('input', { name: 'reason', required: true, maxlength: 200, autocomplete: 'off' }))],
    confirm: t('mark'),
    danger: true,
    act,
  });
}

/** @param {Job} job */
function askDescribe(job) {
  const act = async (/** @type {FormData} */ form) => {
    await commands.describe(job.id, { display_name: String(form.get('display_name')), description: String(form.get('description')) });
    say(t('done.describe'));
  };
  ask({
    title: t('edit.ask', { j: job.id }),
    body: [
      h('label', { class: 'field' }, h('span', null, t('edit.name')), h('input', { name: 'display_name', maxlength: 50, value: job.display_name || job.name || '', autocomplete: 'off' })),
      h('label', { class: 'field' }, h('span', null, t('edit.note')), h('textarea', { name: 'description', rows: 4, maxlength: 200 }, job.description || '')),
    ],
    confirm: t('save'),
    act,
  });
}

/** @param {string[]} ids @param {boolean} paused */
export function askAllPaused(ids, paused) {
  const act = async () => {
    const failed = await commands.setAllPaused(ids, paused);
    if (failed.length > 0) throw new Error(failed.map(({ id, error }) => `${id}: ${error.message}`).join('\n'));
    say(t(paused ? 'done.pause.all' : 'done.resume.all', { n: ids.length }));
  };
  ask({
    title: t(paused ? 'pause.all.ask' : 'resume.all.ask', { n: ids.length }),
    body: h('ul', { class: 'names' }, ids.slice(0, 12).map((id) => h('li', null, jobName(id))), ids.length > 12 && h('li', null, t('and.more', { n: ids.length - 12 }))),
    confirm: t(paused ? 'pause.all' : 'resume.all'),
    danger: paused,
    act,
  });
}
