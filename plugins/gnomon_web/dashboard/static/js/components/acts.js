// What acts of operators have in lists: the act, its job and run, and its reason.
import { h } from '../core/dom.js';
import { clean } from '../model/sanitize.js';
import { jobName } from '../model/store.js';
import { t, word } from '../i18n/index.js';
import { jobLink, runAddress } from './common.js';
import { icon } from './icons.js';

/** @typedef {import('../types.d.ts').Act} Act */

/** Identifies an act: the history has no ids. @param {Act} act */
export const actKey = ({ timestamp, actor, action, job_id, execution_id, detail }) => [timestamp, actor, action, job_id, execution_id, detail].join(' ');

/** @param {Act} act */
export const didWhat = ({ action, status }) => [word('audit', action), status === 'failed' && [' ', h('span', { class: 'badge failed' }, icon('failed'), t('act.refused'))]];

/** The reason that was given, or why the act was refused. @param {Act} act */
export const whyActed = ({ error_message, detail }) => clean(error_message ?? detail ?? '');

/** The job and the run of an act. @param {Act} act */
export const actedOn = ({ job_id, execution_id }) => [
  job_id && jobLink(job_id, () => jobName(job_id)),
  job_id && execution_id && ' · ',
  execution_id && h('a', { href: runAddress(execution_id) }, t('run'), ' ', h('span', { class: 'mono' }, execution_id.slice(-8))),
];
