// The field for the query of a list, with suggestions of the server. Its text and the controls beside it say the same.
import { h } from '../core/dom.js';
import { batch, effect, onDispose, signal } from '../core/signals.js';
import { refine, route } from '../core/router.js';
import { get } from '../model/api.js';
import { isComplete, paramsOf, textOf } from '../model/query_text.js';
import { clean } from '../model/sanitize.js';
import { t, word } from '../i18n/index.js';
import { icon } from './icons.js';

/** @typedef {{ text: string, name: string | null }} Suggestion */
/** @typedef {{ start: number, end: number, key: string | null, items: Suggestion[] }} Suggestions */

const SUGGEST_MS = 80;

/**
 * @param {{ list: 'runs' | 'jobs', fields: import('../model/query_text.js').Fields, placeholder: string, wait: number, problem: () => Error | null }} bar
 * `wait`: milliseconds after the typing until a complete text is asked for; `problem`: what is wrong with it
 */
export function queryBar({ list, fields, placeholder, wait, problem }) {
  const found = signal(/** @type {Suggestions | null} */ (null));
  const active = signal(-1);
  const invalid = () => problemOf(problem());
  let [timer, suggestTimer, abort] = [0, 0, new AbortController()];
  onDispose(() => (clearTimeout(timer), clearTimeout(suggestTimer), abort.abort()));

  const ask = (replace = false) => {
    clearTimeout(timer);
    refine(paramsOf(input.value, fields), { replace });
  };
  const close = () => {
    clearTimeout(suggestTimer);
    abort.abort();
    batch(() => ((found.value = null), (active.value = -1)));
  };
  const suggest = (after = SUGGEST_MS) => {
    close();
    suggestTimer = setTimeout(async () => {
      abort = new AbortController();
      const { signal: stop } = abort;
      const at = Array.from(input.value.slice(0, input.selectionStart ?? input.value.length)).length;
      const answer = await get('/scheduler/query-suggestions', { list, query: input.value, at }, stop).catch(() => null);
      if (!stop.aborted && document.activeElement === input) found.value = answer?.items.length > 0 ? answer : null;
    }, after);
  };
  const pick = (/** @type {Suggestion} */ { text }) => {
    const { start, end, key } = /** @type {Suggestions} */ (found.peek());
    const typed = [...input.value];
    const [before, rest] = [typed.slice(0, start).join('') + text, typed.slice(end).join('')];
    const gap = key !== null && rest === '' ? ' ' : '';
    input.value = before + gap + rest;
    input.setSelectionRange(before.length + gap.length, before.length + gap.length);
    if (key === null) return suggest(0);
    ask();
    return close();
  };
  const press = (/** @type {KeyboardEvent} */ event) => {
    const items = found.peek()?.items ?? [];
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const chosen = items[active.peek()];
    if (by && items.length > 0) active.value = (active.peek() + by + items.length + (active.peek() < 0 && by < 0 ? 1 : 0)) % items.length;
    else if (by) suggest(0);
    else if (chosen && (event.key === 'Enter' || event.key === 'Tab')) pick(chosen);
    else if (event.key === 'Enter') (ask(), close());
    else if (event.key === 'Escape' && found.peek()) close();
    else return;
    event.preventDefault();
  };
  const type = () => {
    clearTimeout(timer);
    if (isComplete(input.value)) timer = setTimeout(ask, wait, true);
    // Nothing is offered for an empty place: the list would cover the controls below.
    if (/\S$/.test(input.value.slice(0, input.selectionStart ?? undefined))) suggest();
    else close();
  };

  /** @type {HTMLInputElement} */
  const input = h('input', {
    type: 'search', role: 'combobox', placeholder, 'aria-label': placeholder, 'data-search': '', autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'search',
    'aria-autocomplete': 'list', 'aria-controls': 'query-suggestions', 'aria-expanded': () => String(found.value !== null),
    'aria-activedescendant': () => (active.value >= 0 ? `suggestion-${active.value}` : null),
    'aria-invalid': () => (invalid() ? 'true' : null), 'aria-describedby': () => (invalid() ? 'query-problem' : null),
    oninput: type, onkeydown: press, onblur: close, onchange: () => ask(),
  });
  effect(() => {
    const text = textOf(route.value.query, fields);
    if (document.activeElement === input && (!isComplete(input.value) || textOf(/** @type {any} */ (paramsOf(input.value, fields)), fields) === text)) return;
    clearTimeout(timer);
    input.value = text;
  });
  const option = (/** @type {Suggestion} */ item, /** @type {number} */ at) =>
    h('li', { id: `suggestion-${at}`, role: 'option', 'aria-selected': () => String(active.value === at), onpointerdown: (/** @type {Event} */ event) => (event.preventDefault(), pick(item)) },
      h('span', { class: 'mono' }, clean(item.text)), h('small', null, noteOf(item)));
  const noteOf = (/** @type {Suggestion} */ { text, name }) => {
    const key = found.peek()?.key;
    return clean(name ?? '') || (key === null ? word('query', text.replace(/[:>]$/, '')) : key === 'status' ? word(list === 'jobs' ? 'jobs' : 'status', text) : '');
  };
  return h('div', { class: 'query-bar' }, [
    h('label', { class: 'search' }, icon('search'), input),
    h('ul', { id: 'query-suggestions', role: 'listbox', 'aria-label': t('query.suggestions'), hidden: () => found.value === null }, () => found.value?.items.map(option) ?? []),
    () => invalid() && h('p', { id: 'query-problem', class: 'problem', role: 'alert' }, icon('failed'), clean(invalid() ?? '')),
  ]);
}

/** What is wrong with a query, of a problem that the server has answered. @param {any} error @returns {string | null} */
export const problemOf = (error) => error?.errors?.find((/** @type {any} */ one) => ['query', 'since', 'until', 'status', 'label'].includes(one.name))?.detail ?? null;
