// Questions: what is asked before something is done. The browser's own dialog keeps the focus and closes on Escape.
import { h } from '../core/dom.js';
import { scope, signal } from '../core/signals.js';
import { t } from '../words/index.js';
import { icon } from './icons.js';

/**
 * Ask; `act` is called with the form's data, and what it raises is shown in the dialog, which then stays open.
 * @param {{ title: string, body?: any, confirm: string, danger?: boolean, act: (form: FormData) => Promise<unknown> | unknown }} question
 */
export function ask({ title, body = null, confirm, danger = false, act }) {
  const busy = signal(false);
  const problem = signal(/** @type {Error | null} */ (null));
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    busy.value = true;
    problem.value = null;
    try {
      await act(new FormData(/** @type {HTMLFormElement} */ (event.target)));
      dialog.close();
    } catch (error) {
      problem.value = /** @type {Error} */ (error);
    } finally {
      busy.value = false;
    }
  };
  const dialog = modal(() => h('form', { onsubmit: submit }, [
    h('h2', { id: 'question-title' }, title),
    body,
    () => problem.value && h('p', { class: 'problem', role: 'alert' }, icon('failed'), problem.value.message),
    h('footer', null, [
      backOut(),
      h('button', { type: 'submit', class: danger ? 'primary danger' : 'primary', disabled: () => busy.value }, confirm),
    ]),
  ]));
}

/** @typedef {{ key: string, text: string, act: () => void }} Entry */

/** Offer things to do, to be chosen with the pointer, with the arrows, or by the key of each. @param {string} title @param {Entry[]} entries @param {string} none */
export function menu(title, entries, none) {
  const dialog = modal(() => h('div', { class: 'menu', onkeydown: press }, [
    h('h2', { id: 'question-title' }, title),
    entries.length === 0 && h('p', { class: 'quiet-line' }, none),
    h('ul', null, entries.map((entry) => h('li', null, h('button', { type: 'button', class: 'quiet', onclick: () => choose(entry) }, entry.text, h('kbd', null, entry.key))))),
    h('footer', null, backOut()),
  ]));

  /** @param {Entry} entry */
  function choose(entry) {
    dialog.close();
    entry.act();
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    const entry = entries.find(({ key }) => key === event.key);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!entry && !by) return;
    event.preventDefault();
    if (entry) return choose(entry);
    const buttons = [...dialog.querySelectorAll('button')];
    const at = buttons.indexOf(/** @type {any} */ (document.activeElement));
    buttons[(at + /** @type {number} */ (by) + buttons.length) % buttons.length].focus();
  }
}

/** @param {() => Element} make @returns {HTMLDialogElement} */
function modal(make) {
  const [dialog, dispose] = scope(() => h('dialog', { class: 'question', 'aria-labelledby': 'question-title', onclose: () => (dialog.remove(), dispose()) }, make()));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const backOut = () => h('button', { type: 'button', onclick: (/** @type {any} */ event) => event.target.closest('dialog').close() }, t('back.out'));

/** A panel at the side that stays beside the page. @param {string} title @param {any} content @param {() => void} closed */
export function drawer(title, content, closed) {
  const dialog = h('dialog', { class: 'drawer', 'aria-labelledby': 'drawer-title', onclose: closed, onclick: outside }, [
    h('header', null, h('h2', { id: 'drawer-title' }, title), h('button', { class: 'quiet', type: 'button', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
    content,
  ]);
  return dialog;

  /** @param {MouseEvent} event */
  function outside(event) {
    if (event.target === dialog) dialog.close();
  }
}
