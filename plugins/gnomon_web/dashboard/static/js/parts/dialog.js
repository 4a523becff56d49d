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
  const [dialog, dispose] = scope(() =>
    h('dialog', { class: 'question', 'aria-labelledby': 'question-title', onclose: () => (dialog.remove(), dispose()) },
      h('form', { onsubmit: submit }, [
        h('h2', { id: 'question-title' }, title),
        body,
        () => problem.value && h('p', { class: 'problem', role: 'alert' }, icon('failed'), problem.value.message),
        h('footer', null, [
          h('button', { type: 'button', onclick: () => dialog.close() }, t('back.out')),
          h('button', { type: 'submit', class: danger ? 'primary danger' : 'primary', disabled: () => busy.value }, confirm),
        ]),
      ])),
  );
  document.body.append(dialog);
  dialog.showModal();
}

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
