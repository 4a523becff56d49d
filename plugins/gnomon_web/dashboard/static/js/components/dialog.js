// Confirmation dialogs, menus and drawers. The native dialog element traps the focus and closes on Escape.
import { h } from '../core/dom.js';
import { refine, route } from '../core/router.js';
import { scope, signal } from '../core/signals.js';
import { t } from '../i18n/index.js';
import { icon } from './icons.js';

/**
 * Ask for confirmation. `act` is called with the form data; if it raises, the dialog stays open and shows the error.
 * @param {{ title: string, body?: any, confirm: string, dismiss: string, danger?: boolean, wide?: boolean, act: (form: FormData) => Promise<unknown> | unknown }} question
 */
export function ask({ title, body = null, confirm, dismiss, danger = false, wide = false, act }) {
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
      closeButton(dismiss),
      h('button', { type: 'submit', class: danger ? 'primary danger' : 'primary', disabled: () => busy.value }, confirm),
    ]),
  ]), wide ? 'question wide' : 'question');
}

/** The field for the reason of an act, which the log keeps. @param {{ required?: boolean, hint?: string }} [more] */
export const reasonField = ({ required = false, hint = '' } = {}) =>
  h('label', { class: 'field' }, h('span', null, t('act.reason')), h('input', { name: 'reason', required, maxlength: 200, autocomplete: 'off' }), hint && h('small', null, hint));

/** @param {FormData} form */
export const reasonOf = (form) => String(form.get('reason') ?? '').trim() || null;

/** @typedef {{ key: string, text: string, act: () => void }} Entry */

/** Show a menu whose entries are chosen with the pointer, the arrow keys, or their own key. @param {any} title @param {Entry[]} entries @param {string} none */
export function menu(title, entries, none) {
  const dialog = modal(() => h('div', { class: 'menu', onkeydown: press }, [
    h('h2', { id: 'question-title' }, title),
    entries.length === 0 && h('p', { class: 'quiet-line' }, none),
    h('ul', null, entries.map((entry) => h('li', null, h('button', { type: 'button', class: 'quiet', onclick: () => choose(entry) }, entry.text, h('kbd', null, entry.key))))),
    h('footer', null, closeButton(t('close'))),
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

/** @param {() => Element} make @param {string} [look] @returns {HTMLDialogElement} */
function modal(make, look = 'question') {
  const [dialog, dispose] = scope(() => h('dialog', { class: look, 'aria-labelledby': 'question-title', onclose: () => (dialog.remove(), dispose()) }, make()));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {string} text */
const closeButton = (text) => h('button', { type: 'button', onclick: (/** @type {any} */ event) => event.target.closest('dialog').close() }, text);

/** A side panel, which the address names. @param {string} title @param {any} content @param {string} panel */
export function drawer(title, content, panel) {
  // The event comes after the dialog is closed, and another panel may have been opened in between.
  const closed = () => route.peek().query.panel === panel && refine({ panel: null }, { replace: true });
  /** @type {HTMLDialogElement} */
  const dialog = h('dialog', { class: 'drawer', 'aria-labelledby': 'drawer-title', onclose: closed, onclick: outside }, [
    h('header', null, h('h2', { id: 'drawer-title' }, title), h('button', { class: 'quiet', type: 'button', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
    content,
  ]);
  queueMicrotask(() => dialog.isConnected && !dialog.open && dialog.showModal());
  return dialog;

  /** @param {MouseEvent} event */
  function outside(event) {
    if (event.target === dialog) dialog.close();
  }
}
