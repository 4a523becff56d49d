// Command buttons: they confirm dangerous commands, depend on the role, and show "requested" until the log confirms.
import { h } from '../core/dom.js';
import { computed, signal, untracked } from '../core/signals.js';
import * as commands from '../model/commands.js';
import { get } from '../model/api.js';
import { isOver } from '../model/fold.js';
import { clean } from '../model/sanitize.js';
import { link, may } from '../model/connection_state.js';
import { jobName } from '../model/store.js';
import { t, withWords } from '../i18n/index.js';
import { ask, reasonField, reasonOf } from './dialog.js';
import { icon } from './icons.js';
import { moment, runAddress } from './common.js';
import { toast } from './toasts.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Run} Run */

/** @param {{ key: string, text: string, name: string, glyph: string, act: () => void, class?: string }} button */
const button = ({ key, text, name, glyph, act, class: look = '' }) =>
  h('button', {
    type: 'button',
    class: look,
    'aria-label': `${text}: ${name}`,
    disabled: () => commands.isRequested(key) || link.value !== 'live',
    title: () => (link.value === 'live' ? text : t('action.offline')),
    onclick: act,
  }, icon(glyph), h('span', { class: 'text' }, () => (commands.isRequested(key) ? t('requested') : text)));

/** What the modules of forms get, since they import nothing. */
const tools = { h, t, signal, moment, clean };

const unconfirmed = () => toast(t('action.unconfirmed'), { bad: true });

/** Takes a pause or a resumption back. @param {string[]} ids @param {boolean} paused */
const undoButton = (ids, paused) => h('button', { type: 'button', class: 'undo', onclick: async (/** @type {any} */ event) => {
  event.target.disabled = true;
  const failed = (await commands.setAllPaused(ids, !paused).catch((error) => [{ error: error.message }])).filter((one) => one.error);
  event.target.closest('p').remove();
  toast(failed.length > 0 ? String(failed[0].error) : t('done.undo'), { bad: failed.length > 0 });
} }, t('undo'));

/** Each button follows its job or run, and is rebuilt only when it becomes another button. @param {() => Job | null} read @param {string} [look] */
export function triggerButton(read, look) {
  const id = computed(() => (may('operator') ? read()?.id : undefined));
  return () => id.value !== undefined && button({ key: `trigger ${id.value}`, text: t('trigger'), name: nameOf(id.value), glyph: 'play', class: look, act: () => askTrigger(/** @type {Job} */ (read())) });
}

/** @param {() => Job | null} read @param {string} [look] */
export function pauseButton(read, look) {
  const verb = computed(() => (may('operator') ? (read()?.paused ? 'resume' : 'pause') : null));
  return () => {
    const id = untracked(read)?.id;
    if (verb.value === null || id === undefined) return null;
    const paused = verb.value === 'pause';
    const resume = () => commands.resume(id, unconfirmed).then(
      () => toast([said(false, [id]), ' ', undoButton([id], false)], { lasts: true }),
      (error) => toast(error.message, { bad: true }),
    );
    const act = paused ? () => askAllPaused([id], true) : resume;
    return button({ key: `${verb.value} ${id}`, text: t(paused ? 'pause' : 'resume'), name: nameOf(id), glyph: paused ? 'paused' : 'resume', class: look, act });
  };
}

/** @param {() => Job | null} read */
export function editButton(read) {
  const id = computed(() => (may('operator') ? read()?.id : undefined));
  return () => id.value !== undefined && button({ key: `describe ${id.value}`, text: t('edit'), name: nameOf(id.value), glyph: 'edit', class: 'quiet', act: () => askDescribe(/** @type {Job} */ (read())) });
}

/** @param {() => Run} read @param {string} [look] */
export function cancelButton(read, look = 'danger') {
  const shown = computed(() => may('operator') && !isOver(read()) && !read().cancel_requested);
  return () => shown.value && button({ ...runButton(read, 'cancel'), text: t('cancel'), glyph: 'stop', class: look, act: () => askCancel(read()) });
}

/** @param {() => Run} read */
export function markFailedButton(read) {
  const shown = computed(() => may('admin') && !isOver(read()));
  return () => shown.value && button({ ...runButton(read, 'mark'), text: t('mark'), glyph: 'failed', class: 'quiet danger', act: () => askMarkFailed(read()) });
}

/** @param {() => Run} read */
export function hideButton(read) {
  const shown = computed(() => may('admin') && isOver(read()) && !read().hidden);
  return () => shown.value && button({ ...runButton(read, 'hide'), text: t('hide'), glyph: 'close', class: 'quiet', act: () => askHide(read()) });
}

/** @param {string} id */
const nameOf = (id) => untracked(() => jobName(id));

/** @param {() => Run} read @param {string} verb */
function runButton(read, verb) {
  const run = untracked(read);
  return { key: `${verb} ${run._id}`, name: nameOf(run.job_id) };
}

/** Ask for arguments and trigger the job. Lists omit or cut its arguments, so they are requested here. @param {Job} job */
export async function askTrigger(job) {
  const name = jobName(job.id);
  const path = `/scheduler/jobs/${encodeURIComponent(job.id)}`;
  const [definition, schema, { argumentFields }] = await Promise.all([get(path).catch(() => ({})), get(`${path}/parameters`).catch(() => ({ additionalProperties: true })), withWords(import('./argument_fields.js'))]);
  const open = definition.policies?.overrides ?? 'all';
  const kwargs = job.kwargs ?? (job.rerun_of ? await argumentsOf(job.rerun_of) : definition.kwargs ?? {});
  const fields = argumentFields(tools, schema, kwargs);
  const last = job.last_execution?._id;
  ask({
    title: t('trigger.ask', { j: name }),
    confirm: t('trigger'),
    dismiss: t('trigger.dismiss'),
    body: [
      open === 'none'
        ? h('p', { class: 'quiet-line' }, t('trigger.kwargs.closed'))
        : [
          last && h('button', { type: 'button', class: 'quiet', onclick: async () => fields.fill({ ...definition.kwargs, ...await argumentsOf(last) }) }, t('arg.last')),
          fields.elements,
          h('small', null, Array.isArray(open) ? t('trigger.kwargs.some', { names: open.join(', ') }) : t('trigger.kwargs.hint')),
        ],
      h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'force' }), h('span', null, t('trigger.force'), h('small', null, t('trigger.force.hint')))),
      job.paused && h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'stay' }), h('span', null, t('keep.paused'), h('small', null, t('trigger.stay.hint')))),
    ],
    act: async (form) => {
      const answer = await commands.trigger(job.id, { kwargs: open === 'none' ? {} : fields.read(), force: form.has('force'), resume: !form.has('stay') });
      toast([t('done.trigger', { j: name }), ' ', h('a', { href: runAddress(commands.recordOf(answer)._id) }, t('done.see'))]);
    },
  });
}

/** @param {string} run @returns {Promise<Record<string, unknown>>} */
const argumentsOf = (run) => get(`/scheduler/executions/${run}`).then((found) => found.kwargs, () => ({}));

/** @param {Run} run */
export function askCancel(run) {
  const name = jobName(run.job_id);
  const act = async (/** @type {FormData} */ form) => {
    await commands.cancel(run._id, reasonOf(form), unconfirmed);
    toast(t('done.cancel', { j: name }));
  };
  ask({ title: t('cancel.ask', { j: name }), body: [h('p', null, t('cancel.text')), reasonField()], confirm: t('cancel.do'), dismiss: t('keep.running'), danger: true, act });
}

/** @param {Run} run */
export function askMarkFailed(run) {
  const act = async (/** @type {FormData} */ form) => {
    await commands.markFailed(run._id, reasonOf(form));
    toast(t('done.mark'));
  };
  ask({
    title: t('mark.ask', { j: jobName(run.job_id) }),
    body: [h('p', null, t('mark.text')), reasonField({ required: true })],
    confirm: t('mark'),
    dismiss: t('keep.running'),
    danger: true,
    act,
  });
}

/** @param {Run} run */
export function askHide(run) {
  const act = async () => {
    await commands.hide(run._id);
    toast(t('done.hide'));
  };
  ask({ title: t('hide.ask'), body: h('p', null, t('hide.text')), confirm: t('hide'), dismiss: t('keep.visible'), danger: true, act });
}

/** @param {Job} job */
export function askDescribe(job) {
  const act = async (/** @type {FormData} */ form) => {
    await commands.describe(job.id, { display_name: String(form.get('display_name')), description: String(form.get('description')) });
    toast(t('done.describe'));
  };
  ask({
    title: t('edit.ask', { j: job.id }),
    body: [
      h('label', { class: 'field' }, h('span', null, t('edit.name')), h('input', { name: 'display_name', maxlength: 50, value: job.display_name || job.name || '', autocomplete: 'off' })),
      h('label', { class: 'field' }, h('span', null, t('edit.note')), h('textarea', { name: 'description', rows: 4, maxlength: 200 }, job.description || '')),
    ],
    confirm: t('save'),
    dismiss: t('edit.dismiss'),
    act,
  });
}

const MOST_NAMES = 500;

/** @param {boolean} paused @param {string[]} ids */
const said = (paused, ids) =>
  (ids.length === 1 ? t(paused ? 'done.pause' : 'done.resume', { j: jobName(ids[0]) }) : t(paused ? 'done.pause.all' : 'done.resume.all', { n: ids.length }));

/** Pause or resume many jobs, after a dialog that names them. @param {string[]} ids @param {boolean} paused */
export function askAllPaused(ids, paused) {
  const act = async (/** @type {FormData} */ form) => {
    const outcomes = await commands.setAllPaused(ids, paused, reasonOf(form));
    const changed = outcomes.filter((one) => one.changed).map((one) => one.id);
    if (changed.length > 0) toast([said(paused, changed), ' ', undoButton(changed, paused)], { lasts: true });
    const failed = outcomes.filter((one) => one.error);
    if (failed.length > 0) throw new Error(failed.map(({ id, error }) => `${id}: ${error}`).join('\n'));
  };
  ask({
    title: t(paused ? 'pause.all.ask' : 'resume.all.ask', { n: ids.length }),
    body: [
      h('ul', { class: 'names', tabindex: 0 }, ids.slice(0, MOST_NAMES).map((id) => h('li', null, jobName(id))), ids.length > MOST_NAMES && h('li', null, t('and.more', { n: ids.length - MOST_NAMES }))),
      reasonField(),
    ],
    confirm: t(paused ? 'pause.all' : 'resume.all', { n: ids.length }),
    dismiss: t(paused ? 'keep.active' : 'keep.paused'),
    danger: paused,
    act,
  });
}
