// Add, copy, change and remove jobs at run time. Jobs that a config, code or a plugin defines can only be copied here.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { address } from '../core/router.js';
import * as commands from '../model/commands.js';
import { get, post } from '../model/api.js';
import { link, may } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import { jobName } from '../model/store.js';
import { t, withWords } from '../i18n/index.js';
import { moment } from './common.js';
import { ask, reasonField, reasonOf } from './dialog.js';
import { icon } from './icons.js';
import { toast } from './toasts.js';

/** @typedef {import('../types.d.ts').Job} Job */

/** @param {string} text @param {string} glyph @param {() => void} act @param {string} [look] */
const formButton = (text, glyph, act, look = 'quiet') =>
  h('button', { type: 'button', class: look, disabled: () => link.value !== 'live', onclick: act }, icon(glyph), h('span', { class: 'text' }, text));

export const newJobButton = () => () => may('admin') && formButton(t('job.new'), 'edit', () => void askDefine({}, t('job.new')), '');

/** The acts on the definition of a job. @param {Job} job with its definition */
export function definitionButtons(job) {
  if (!may('admin') || !job.definition) return null;
  const own = job.origin === 'api';
  return h('span', { class: 'buttons' }, [
    formButton(t('job.copy'), 'copy', () => void askDefine(copied(job), t('job.copy.ask', { j: job.id }), job)),
    own && formButton(t('job.change'), 'edit', () => void askDefine({ ...job.definition }, t('job.change.ask', { j: job.id }), job, job.version)),
    own && formButton(t('job.remove'), 'close', () => askRemove(job), 'quiet danger'),
  ]);
}

/** The keys of a copy. A job that the deployment declares is named as the function. @param {Job} job @returns {Record<string, any>} */
function copied(job) {
  const { id: _id, func, ...keys } = /** @type {Record<string, any>} */ (job.definition);
  return { ...keys, func: job.origin === 'api' ? func : job.id };
}

/** The parameters of a job and its own arguments, null where there is no such job. @param {string} id */
async function sourceOf(id) {
  const path = `/scheduler/jobs/${encodeURIComponent(id)}`;
  try {
    const [schema, { kwargs }] = await Promise.all([get(`${path}/parameters`), get(path)]);
    return { schema, kwargs };
  } catch {
    return null;
  }
}

/** @param {Record<string, any>} keys @param {string} title @param {Job} [source] whose parameters the fields have @param {number} [version] of the job that is changed */
async function askDefine(keys, title, source, version) {
  const [known, inputs, { jobForm }] = await Promise.all([source ? sourceOf(source.id) : null, import('./argument_fields.js'), withWords(import('./job_form.js'))]);
  const isNew = version === undefined;
  const preview = (/** @type {object} */ draft) => post('/scheduler/jobs/preview', draft);
  const act = async () => {
    const wanted = form.read();
    await commands.define(wanted, version);
    toast([t(isNew ? 'done.job.add' : 'done.job.change', { j: wanted.id }), ' ', h('a', { href: address(`/jobs/${encodeURIComponent(wanted.id)}`) }, t('done.job.see'))]);
  };
  const form = jobForm({ h, t, signal, moment, clean }, inputs, { keys, isNew, preview, sourceOf, schema: known?.schema ?? null });
  ask({ title, body: form.element, confirm: t(isNew ? 'job.add' : 'save'), dismiss: t('edit.dismiss'), wide: true, act });
}

/** @param {Job} job */
function askRemove(job) {
  const act = async (/** @type {FormData} */ form) => {
    await commands.remove(job.id, job.version, reasonOf(form));
    toast(t('done.job.remove', { j: job.id }));
  };
  ask({ title: t('job.remove.ask', { j: jobName(job.id) }), body: [h('p', null, t('job.remove.text')), reasonField()], confirm: t('job.remove'), dismiss: t('job.keep'), danger: true, act });
}
