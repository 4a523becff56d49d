// A field whose text is a filter in the address, with suggestions.
import { h } from '../core/dom.js';
import { refine, route } from '../core/router.js';

/** @param {string} key of the query @param {string} name @param {() => string[]} suggestions */
export const filterField = (key, name, suggestions) =>
  h('label', { class: 'search' }, [
    h('input', { list: `seen-${key}`, 'aria-label': name, placeholder: name, value: () => route.value.query[key] ?? '', onchange: (/** @type {any} */ event) => refine({ [key]: event.target.value.trim() || null }) }),
    h('datalist', { id: `seen-${key}` }, () => suggestions().map((value) => h('option', { value }))),
  ]);
