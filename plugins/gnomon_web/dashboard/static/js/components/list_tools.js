// What the reader of a list chooses: columns, dense rows, saved views, and the list as a file. Browsers remember it.
import { h } from '../core/dom.js';
import { computed, signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { address, refine, route } from '../core/router.js';
import { BASE, queryText } from '../model/api.js';
import { forgetView, LONGEST_NAME, savedViews, saveView } from '../model/saved_views.js';
import { clean } from '../model/sanitize.js';
import { number } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { copyText } from './common.js';
import { icon } from './icons.js';
import { toast } from './toasts.js';

const dense = signal(readPreference('dense', 'off') === 'on');

function switchDensity() {
  dense.value = !dense.peek();
  savePreference('dense', dense.peek() ? 'on' : 'off');
}

/** The class of a table whose rows may be dense. */
export const density = () => (dense.value ? ' dense' : '');

/** The columns of a list that are shown. @param {string} list @param {readonly string[]} all @param {readonly string[]} [hiddenAtFirst] */
export function chosenColumns(list, all, hiddenAtFirst = []) {
  const hidden = signal(readPreference(`${list}.hidden`, hiddenAtFirst.join()).split(',').filter((name) => all.includes(name)));
  const toggle = (/** @type {string} */ name) => {
    hidden.value = hidden.peek().includes(name) ? hidden.peek().filter((one) => one !== name) : [...hidden.peek(), name];
    savePreference(`${list}.hidden`, hidden.value.join());
  };
  return { all, toggle, shown: computed(() => all.filter((name) => !hidden.value.includes(name)).join(' ')) };
}

/**
 * A list: columns of which those in `fixed` are always shown, the keys by which the server sorts them, the order without
 * a choice, the address of its file, and how many rows that has.
 * @typedef {{ columns: ReturnType<typeof chosenColumns>, fixed: string[], sorts: Record<string, string>, usual: string, path: string, query: () => Record<string, string | undefined>, total: () => number }} List
 */

/** A panel below its button. It closes on Escape, and when something else is chosen. @param {string} text @param {string} glyph @param {() => any} content */
function drop(text, glyph, content) {
  const open = signal(false);
  const leave = (/** @type {FocusEvent} */ event) => event.relatedTarget && !element.contains(/** @type {Node} */ (event.relatedTarget)) && (element.open = false);
  const press = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== 'Escape' || !element.open) return;
    event.preventDefault();
    element.open = false;
    element.querySelector('summary')?.focus();
  };
  /** @type {HTMLDetailsElement} */
  const element = h('details', { class: 'drop', ontoggle: () => (open.value = element.open), onfocusout: leave, onkeydown: press }, [
    h('summary', null, icon(glyph), t(/** @type {any} */ (text))),
    h('div', { class: 'dropped' }, () => open.value && content()),
  ]);
  return element;
}

const check = (/** @type {any} */ text, /** @type {() => boolean} */ checked, /** @type {() => void} */ change) =>
  h('label', { class: 'check' }, h('input', { type: 'checkbox', checked, onchange: change }), h('span', null, text));

/** @param {List} list */
const columnsDrop = ({ columns, fixed, sorts, usual }) => drop('list.columns', 'more', () => [
  h('label', { class: 'field' }, h('span', null, t('list.sort')), h('select', { onchange: (/** @type {any} */ event) => refine({ sort: event.target.value === usual ? null : event.target.value }) },
    () => Object.entries(sorts).flatMap(([name, key]) => [[key, '▲'], [`-${key}`, '▼']].map(([value, arrow]) => h('option', { value, selected: (route.value.query.sort || usual) === value }, `${t(/** @type {any} */ (`col.${name}`))} ${arrow}`))))),
  h('fieldset', null, h('legend', null, t('list.columns')), columns.all.filter((name) => !fixed.includes(name)).map((name) =>
    check(t(/** @type {any} */ (`col.${name}`)), () => columns.shown.value.split(' ').includes(name), () => columns.toggle(name)))),
  check(t('list.dense'), () => dense.value, switchDensity),
]);

const viewsDrop = () => drop('views', 'overview', () => {
  const here = () => savedViews.value.filter((view) => view.path === route.value.path);
  const save = (/** @type {any} */ event) => {
    event.preventDefault();
    const name = String(new FormData(event.target).get('name')).trim();
    if (name) keepView(name);
    event.target.reset();
  };
  return [
    () => (here().length === 0 ? h('p', { class: 'quiet-line' }, t('views.none')) : h('ul', { class: 'views' }, here().map((view) => h('li', null, [
      h('a', { href: address(view.path, view.query) }, clean(view.name)),
      h('button', { type: 'button', class: 'quiet', 'aria-label': t('views.link', { name: view.name }), onclick: () => shareView(view) }, icon('copy')),
      h('button', { type: 'button', class: 'quiet', 'aria-label': t('views.forget', { name: view.name }), onclick: () => forgetView(view) }, icon('close')),
    ])))),
    h('form', { class: 'save-view', onsubmit: save }, h('label', { class: 'field' }, h('span', null, t('views.name')), h('input', { name: 'name', required: true, maxlength: LONGEST_NAME, autocomplete: 'off' })), h('button', { type: 'submit' }, t('views.save'))),
  ];
});

/** Save what the page shows. @param {string} name */
function keepView(name) {
  const { path, query: { view: _, at: __, panel: ___, ...query } } = route.peek();
  saveView({ name, path, query });
  toast(t('views.saved', { name }));
}

/** @param {import('../model/saved_views.js').SavedView} view */
async function shareView({ name, path, query }) {
  await copyText(location.origin + address(path, { ...query, view: name }));
  toast(t('link.copied'));
}

/** The name that a link has for what it shows, with the offer to save it. */
const broughtView = () => () => {
  const name = (route.value.query.view ?? '').slice(0, LONGEST_NAME).trim();
  if (!name) return null;
  const done = (/** @type {boolean} */ isKept) => {
    if (isKept) keepView(name);
    refine({ view: null }, { replace: true });
  };
  return h('p', { class: 'brought', role: 'status' }, t('views.brought', { name: clean(name) }), ' ', h('button', { type: 'button', onclick: () => done(true) }, t('views.save')), h('button', { type: 'button', class: 'quiet', onclick: () => done(false) }, t('views.ignore')));
};

/** @param {string} path @param {() => Record<string, string | undefined>} query @param {() => number} total */
const downloadDrop = (path, query, total) => drop('download', 'down', () => [
  h('p', { class: 'quiet-line' }, () => t('download.all', { n: number(total()) })),
  ['csv', 'ndjson'].map((format) => h('a', { class: 'button', href: () => BASE + path + queryText({ ...query(), format }), download: '' }, icon('down'), t(/** @type {any} */ (`download.${format}`)))),
]);

/** @param {List} list */
export const listTools = (list) => [broughtView(), h('div', { class: 'tools' }, viewsDrop(), columnsDrop(list), downloadDrop(list.path, list.query, list.total))];

/** The heading of a table; a column that can be sorted is a button. @param {readonly string[]} names @param {Record<string, string>} sorts from a column to the key by which the server sorts @param {string} usual the order without a choice */
export const sortableHead = (names, sorts, usual) => h('thead', null, h('tr', null, names.map((name) => {
  const text = t(/** @type {any} */ (`col.${name}`));
  const key = sorts[name];
  if (!key) return h('th', { scope: 'col', 'data-col': name }, name === 'actions' ? h('span', { class: 'sr' }, text) : text);
  const chosen = () => route.value.query.sort || usual;
  const direction = () => (chosen() === key ? 'ascending' : chosen() === `-${key}` ? 'descending' : null);
  const sort = () => {
    const next = chosen() === `-${key}` ? key : chosen() === key ? `-${key}` : FIRST_ASCENDING.includes(key) ? key : `-${key}`;
    refine({ sort: next === usual ? null : next });
  };
  return h('th', { scope: 'col', 'data-col': name, 'aria-sort': direction }, h('button', { type: 'button', class: 'sort', onclick: sort }, text, () => direction() && h('span', { class: 'arrow', 'aria-hidden': 'true' }, direction() === 'ascending' ? '▲' : '▼')));
})));

const FIRST_ASCENDING = ['job', 'status', 'by', 'schedule', 'next'];
