// What the keys and the menu of actions do, and to what: to the row that has the focus, else to what the page shows.
import * as store from '../model/store.js';
import { isOver } from '../model/fold.js';
import { link, may } from '../model/link.js';
import { t } from '../words/index.js';
import { askAllPaused, askCancel, askDescribe, askHide, askMarkFailed, askTrigger } from './actions.js';
import { menu } from './dialog.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ job: Job | null, run: Run | null }} Subject */

/** @type {WeakMap<Element, () => Subject>} */
const subjects = new WeakMap();

/** Say what an element is about, as its `ref`. @param {() => Subject} read @returns {(element: Element) => void} */
export const concerns = (read) => (element) => void subjects.set(element, read);

/** @param {Run | null} run @returns {Subject} */
export const ofRun = (run) => ({ run, job: run && again(run) });

/** @param {Job | null} job @returns {Subject} */
export const ofJob = (job) => ({ run: null, job });

/** The job, to be run again with the arguments of this run. @param {Run} run */
export function again(run) {
  const job = store.jobOf(run.job_id);
  return job && { ...job, kwargs: run.kwargs };
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

/** What this person may do with it now. @param {Subject} subject @returns {import('./dialog.js').Entry[]} */
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
  const subject = subjectInFocus();
  if (!subject.job && !subject.run) return;
  menu(store.jobName((subject.run?.job_id ?? subject.job?.id) || ''), actionsOn(subject), t(link.peek() === 'live' ? 'actions.none' : 'action.offline'));
}
