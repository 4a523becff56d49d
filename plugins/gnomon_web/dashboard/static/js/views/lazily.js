// Views that are loaded when they are first shown: the first visit loads the overview and the lists alone.
import { h } from '../core/dom.js';
import { signal, untracked } from '../core/signals.js';
import { failure, skeleton } from '../components/common.js';
import { withWords } from '../i18n/index.js';

let isHeadingDue = false; // it is to be focused, and its view is still loading

/** Focus the heading of a new view, which announces it. */
export function focusHeading() {
  requestAnimationFrame(() => {
    const heading = /** @type {HTMLElement | null} */ (document.querySelector('main h1'));
    heading?.focus({ preventScroll: true });
    isHeadingDue = document.activeElement !== heading;
  });
}

/** @typedef {(...args: any[]) => any} Make */

const loadingView = () => [h('h1', { class: 'sr' }, 'Gnomon'), skeleton(5)];

/** Return a view that loads its code first; meanwhile it shows `waiting`. @param {() => Promise<Make>} load @param {() => any} [waiting] @returns {Make} */
export function lazily(load, waiting = loadingView) {
  const made = signal(/** @type {Make | null} */ (null));
  const problem = signal(/** @type {Error | null} */ (null));
  const read = () => {
    problem.value = null;
    withWords(load()).then(
      (make) => {
        made.value = make;
        if (isHeadingDue) focusHeading();
      },
      (error) => (problem.value = error),
    );
  };
  return (...args) => {
    if (made.peek() === null) read();
    // In a separate element: what shows the view is not built again when the code arrives.
    return h('div', null, () => {
      const make = made.value;
      if (make) return untracked(() => make(...args));
      return problem.value ? failure(problem.value, read) : waiting();
    });
  };
}
