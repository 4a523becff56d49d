// The action menu and the action keys. They act on the focused row, else on the job or run of the page.
import * as store from '../model/store.js';
import { isOver } from '../model/fold.js';
import { link, may } from '../model/connection_state.js';
import { t } from '../i18n/index.js';
import { askAllPaused, askCancel, askDescribe, askHide, askMarkFailed, askTrigger } from './actions.js';
import { menu } from './dialog.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ job: Job | null, run: Run | null }} Subject */

/** @type {WeakMap<Element, () => Subject>} */
const subjects = new WeakMap();

/** Attach a job or run to an element, as its `ref`. @param {() => Subject} read @returns {(element: Element) => void} */
export const subject = (read) => (element) => void subjects.set(element, read);

/** @param {Run | null} run @returns {Subject} */
export const ofRun = (run) => ({ run, job: run && rerunOf(run) });

/** @param {Job | null} job @returns {Subject} */
export const ofJob = (job) => ({ run: null, job });

/** The job with the arguments of this run, to run it again; those that a list has cut are read from the run. @param {Run} run */
export function rerunOf(run) {
  const job = store.jobOf(run.job_id);
  return job && (run.truncated ? { ...job, rerun_of: run._id } : { ...job, kwargs: run.kwargs });
}

/** @returns {Subject} */
function subjectInFocus() {
  for (let at = document.activeElement; at; at = at.parentElement) {
    const read = subjects.get(at);
    if (read) return read();
  }
  const page = document.querySelector('main .page');
  return (page && subjects.get(page)?.()) ?? ofJob(null);
}

/** The actions that this role may take now. @param {Subject} subject @returns {import('./dialog.js').Entry[]} */
function actionsOn({ job, run }) {
  if (link.peek() !== 'live') return [];
  const entries = [
    job && may('operator') && { key: 't', text: t('trigger'), act: () => askTrigger(job) },
    job && may('operator') && { key: 'p', text: t(job.paused ? 'resume' : 'pause'), act: () => askAllPaused([job.id], !job.paused) },
    run && may('operator') && !isOver(run) && !run.cancel_requested && { key: 'c', text: t('cancel.do'), act: () => askCancel(run) },
    job && may('operator') && { key: 'e', text: t('edit'), act: () => askDescribe(job) },
    run && may('admin') && !isOver(run) && { key: 'm', text: t('mark'), act: () => askMarkFailed(run) },
    run && may('admin') && isOver(run) && !run.hidden && { key: 'h', text: t('hide'), act: () => askHide(run) },
  ];
  return entries.filter((entry) => entry !== null && entry !== false);
}

/** @param {string} key */
export const actByKey = (key) => actionsOn(subjectInFocus()).find((entry) => entry.key === key)?.act();

export function openMenu() {
  const focused = subjectInFocus();
  if (!focused.job && !focused.run) return;
  menu(store.jobName((focused.run?.job_id ?? focused.job?.id) || ''), actionsOn(focused), t(link.peek() === 'live' ? 'actions.none' : 'action.offline'));
}
